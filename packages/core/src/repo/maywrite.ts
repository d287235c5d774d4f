/** Whether a statement that was written by hand may write, as far as its text tells. */
import { calledIn } from "./sqltext.js"

const readsRows = /^\s*(?:select|values|table|declare|fetch|close|show)\b/i

/** What stands before a parenthesis and writes nothing: PostgreSQL's words, and its functions that a check is usually made with. */
const harmless: ReadonlySet<string> = new Set(
  `abs all and any array array_agg array_length as avg between bit_length bool_and bool_or by cardinality case cast ceil ceiling char_length coalesce
  concat concat_ws count current_setting date date_part date_trunc distinct else every exists extract filter floor from generate_series greatest having in
  interval join jsonb_array_length jsonb_typeof lateral least left length like limit lower max md5 min mod not now nullif numeric offset on or over
  pg_advisory_xact_lock pg_try_advisory_xact_lock position random rank replace right round row row_number select some split_part string_agg
  substring sum then to_char trim union unnest upper using values varchar when where with`.split(/\s+/)
)

/** Whether a statement written by hand may write: all but a select that calls no function but well-known ones. Others may do anything. */
export const mayWrite = (text: string): boolean => {
  if (!readsRows.test(text)) return true
  for (const name of calledIn(text)) if (!harmless.has(name)) return true
  return false
}
