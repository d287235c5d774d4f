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

const millis = (name: string, input: Duration.DurationInput | undefined): number => {
  if (input === undefined) return Number.POSITIVE_INFINITY
  let decoded: number
  try {
    decoded = typeof input === "number" ? input : Duration.toMillis(Duration.decode(input))
  } catch {
    decoded = Number.NaN
  }
  // Duration reads NaN and negative numbers as zero, which here would silently switch the cache off.
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
    ? { idle: millis(name, lifetime), max: Number.POSITIVE_INFINITY }
    : { idle: millis(`${name}.idle`, lifetime.idle), max: millis(`${name}.max`, lifetime.max) }
