/** PostgreSQL's own limits for what a transaction does: for each statement, and for each wait for a lock. */
import type { Duration } from "effect"
import { millisFrom } from "../durations.js"

/** As they are asked for. */
export interface Limits {
  readonly statementTimeout?: Duration.DurationInput | undefined
  readonly lockTimeout?: Duration.DurationInput | undefined
}

/** The longest that PostgreSQL can be told, about 25 days. */
const longest = 2 ** 31 - 1

const limitText = (option: string, setting: string, duration: Duration.DurationInput | undefined): string => {
  if (duration === undefined) return ""
  const millis = millisFrom(option, duration)
  // Zero would be no limit at all.
  return `; set local ${setting} = ${Number.isFinite(millis) ? Math.min(longest, Math.max(1, Math.floor(millis))) : 0}`
}

/** What stands behind `begin` or `savepoint`, so that they hold from there on; nothing where none is asked for. */
export const limitsText = ({ lockTimeout, statementTimeout }: Limits): string =>
  `${limitText("statementTimeout", "statement_timeout", statementTimeout)}${limitText("lockTimeout", "lock_timeout", lockTimeout)}`

/** Asks for those that hold already. */
const asking =
  "; select current_setting('statement_timeout') as statement_timeout, current_setting('lock_timeout') as lock_timeout"

/** The same behind `savepoint`. PostgreSQL takes them back with the savepoint, but keeps them when that is released. */
export const nestedLimitsText = (limits: Limits): string => {
  const text = limitsText(limits)
  return text === "" ? "" : `${asking}${text}`
}

/** What stands before `release savepoint`, so that those hold again that did before: they are in what was answered to {@link nestedLimitsText}. */
export const formerLimitsText = (answer: unknown): string => {
  if (!Array.isArray(answer)) return ""
  // Sound: what the driver gives for several statements, looked at by name.
  const rows = answer.flatMap((one) => (Object(one) as { readonly rows?: ReadonlyArray<object> }).rows ?? [])
  return Object.entries(rows[0] ?? {})
    .map(([setting, value]) => `set local ${setting} = '${String(value).replaceAll("'", "''")}'; `)
    .join("")
}
