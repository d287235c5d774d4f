import * as Durations from "@effecto/core/internal/durations"
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

export const millisOf = (name: string, input: Duration.DurationInput | undefined): number => {
  if (input === undefined) return Number.POSITIVE_INFINITY
  const millis = Durations.millisOf(input)
  if (millis === undefined) {
    throw new RangeError(
      `${name} is not a lifetime: ${String(input)} (a duration of zero or more, such as "10 minutes", or Infinity)`
    )
  }
  return Math.floor(millis)
}

/** @throws RangeError for what is not a duration, with the option's name in front. */
export const toSpan = (lifetime: Lifetime, name: string): Span =>
  isDurationInput(lifetime)
    ? { idle: millisOf(name, lifetime), max: Number.POSITIVE_INFINITY }
    : { idle: millisOf(`${name}.idle`, lifetime.idle), max: millisOf(`${name}.max`, lifetime.max) }
