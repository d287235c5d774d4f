/** Durations as options give them. */
import { Duration, Option } from "effect"

/** As an error shows what was given instead. */
export const shown = (value: unknown): string => (typeof value === "string" ? JSON.stringify(value) : String(value))

/** Effect reads these as no time at all. */
const isBelowZero = (input: Duration.DurationInput): boolean => {
  if (typeof input === "number") return !(input >= 0)
  if (typeof input === "bigint") return input < 0n
  if (typeof input === "string") return Number.parseFloat(input) < 0
  return Array.isArray(input) && !(input[0] * 1_000_000_000 + input[1] >= 0)
}

/** Milliseconds, `Infinity` for one without an end; nothing for what is no duration, or one below zero. */
export const millisOf = (input: unknown): number | undefined => {
  const decoded = Duration.decodeUnknown(input)
  // Sound: what is decoded was such an input.
  return Option.isNone(decoded) || isBelowZero(input as Duration.DurationInput)
    ? undefined
    : Duration.toMillis(decoded.value)
}

/** What is wrong with an option that is no duration. */
export const noDuration = (option: string, input: unknown): string =>
  `${option} is ${shown(input)}; it has to be a duration of zero or more, such as "5 seconds"`

/** The same of an option whose error is a defect. */
export const millisFrom = (option: string, input: unknown): number => {
  const millis = millisOf(input)
  if (millis === undefined) throw new Error(noDuration(option, input))
  return millis
}

/** Reads options that have to have an end, and one of how long to wait for a child to stop. `refuse` makes its own error of what is wrong. */
export const checked = (refuse: (problem: string) => never) => {
  const millis = (option: string, input: unknown): number => {
    const value = millisOf(input)
    if (value === undefined) return refuse(noDuration(option, input))
    return Number.isFinite(value) ? value : refuse(`${option} is not a finite duration`)
  }
  const shutdown = (
    input: Duration.DurationInput | "brutalKill" | "infinity" | undefined
  ): number | "brutalKill" | "infinity" | undefined =>
    input === undefined || input === "brutalKill" || input === "infinity"
      ? input
      : millisOf(input) === Number.POSITIVE_INFINITY
        ? "infinity"
        : millis("shutdown", input)
  return { millis, shutdown }
}
