/** What a statement's text says it does: a quick look, for what has to be known of every one. */
import { controls } from "./sqltext.js"

/** Nothing is written by it, unless a function of it does. */
export const readsOnly = /^\s*(select|values|table)\b/i
const readsPerhaps = /^\s*with\b/i
const writes = /\b(insert|update|delete|merge)\b/i

/** Whether PostgreSQL makes a cursor of it. */
export const isFetched = (text: string) => readsOnly.test(text) || (readsPerhaps.test(text) && !writes.test(text))

/**
 * What may begin or end a transaction, which is for `transact` to do; going back to a savepoint does not. A quick look, in one pass: whatever begins with a
 * comment may.
 */
const control =
  /^[\s;]*(?:--|\/\*|(?:begin|commit|end|abort|start|prepare)\b|rollback\b(?!(?:\s+(?:work|transaction))?\s+to\b))/i

/** Whether a statement begins or ends a transaction. */
export const isControl = (text: string): boolean => control.test(text) && controls(text, "first")

/** After these, what was prepared before may not fit its tables any more. */
export const altering = /\b(?:alter|create|drop|discard|deallocate)\b/i
