import { Duration } from "effect"

/**
 * How long an entry may be served.
 *
 * A duration alone is an idle lifetime: each read starts it anew. `idle` and `max` name both kinds: `max` counts from the write and no read
 * renews it; with both, whichever ends first ends the entry. What is left out is infinite. An entry is expired from the very end of its lifetime
 * on: `idle: "10 seconds"` read 10 seconds later is a miss. A lifetime of zero is never stored. Lifetimes are whole milliseconds, rounded down.
 *
 * @since 0.1.0
 * @category models
 */
export type Lifetime =
  | Duration.DurationInput
  | { readonly idle?: Duration.DurationInput | undefined; readonly max?: Duration.DurationInput | undefined }

/** A lifetime in milliseconds, `Infinity` where nothing ends it. */
export interface Span {
  readonly idle: number
  readonly max: number
}

const isDurationInput = (lifetime: Lifetime): lifetime is Duration.DurationInput =>
  typeof lifetime !== "object" || Array.isArray(lifetime) || Duration.isDuration(lifetime)

/** What Duration reads as zero though it is none, which here would silently switch the cache off. */
const isBelowZero = (input: Duration.DurationInput): boolean => {
  if (typeof input === "number") return !(input >= 0)
  if (typeof input === "bigint") return input < 0n
  if (typeof input === "string") return Number.parseFloat(input) < 0
  return Array.isArray(input) && !(input[0] * 1_000_000_000 + input[1] >= 0)
}

export const millisOf = (name: string, input: Duration.DurationInput | undefined): number => {
  if (input === undefined) return Number.POSITIVE_INFINITY
  let decoded: number
  try {
    decoded = isBelowZero(input) ? Number.NaN : Duration.toMillis(Duration.decode(input))
  } catch {
    decoded = Number.NaN
  }
  if (!(decoded >= 0)) {
    throw new RangeError(
      `${name} is not a lifetime: ${String(input)} (a duration of zero or more, such as "10 minutes", or Infinity)`
    )
  }
  return Math.floor(decoded)
}

/** @throws RangeError for what is not a duration, with the option's name in front. */
export const toSpan = (lifetime: Lifetime, name: string): Span =>
  isDurationInput(lifetime)
    ? { idle: millisOf(name, lifetime), max: Number.POSITIVE_INFINITY }
    : { idle: millisOf(`${name}.idle`, lifetime.idle), max: millisOf(`${name}.max`, lifetime.max) }
