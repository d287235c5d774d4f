/** A cache's options, decoded: what makes no sense is refused by name. */
import type { Duration, Effect, Option } from "effect"
import type { Options } from "./Cache.js"
import { Recency } from "./eviction.js"
import { millisOf, toSpan } from "./lifetime.js"
import type { Settings } from "./settings.js"
import { TinyLfu } from "./tinyLfu.js"

/** @throws RangeError with the cache's name and the option's in it. */
export const settingsOf = <K, V, E, R, W>(options: Options<K, V, E, R, W>): Settings<K, V, E> => {
  const cache = `cache ${JSON.stringify(options.name)}`
  const refuse = (problem: string): never => {
    throw new RangeError(`${cache} cannot have ${problem}`)
  }
  const { batchSize, capacity, jitter, maxWeight, refreshAhead } = options
  if (capacity !== undefined && !(Number.isSafeInteger(capacity) && capacity > 0))
    refuse(`a capacity of ${capacity}: give a whole number above zero, or leave it out for none`)
  if (batchSize !== undefined && !(Number.isSafeInteger(batchSize) && batchSize > 0))
    refuse(`a batchSize of ${batchSize}: give a whole number above zero, or leave it out for no limit`)
  if (maxWeight !== undefined && !(maxWeight > 0))
    refuse(`a maxWeight of ${maxWeight}: give a number above zero, or leave it out for none`)
  if (maxWeight !== undefined && options.weight === undefined)
    refuse("a maxWeight without a weight: say what a value weighs, or bound how many there are by capacity")
  if (jitter !== undefined && !(jitter >= 0 && jitter < 1))
    refuse(`a jitter of ${jitter}: give the share of a max lifetime that chance takes off, from 0 to below 1`)
  if (refreshAhead !== undefined && !(refreshAhead > 0))
    refuse(`a refreshAhead of ${refreshAhead}: give how many loading times ahead, such as 1, or leave it out for never`)

  const millis = (name: "staleWhileRevalidate" | "grace" | "softTimeout" | "hardTimeout") => {
    const input = options[name]
    return input === undefined ? undefined : millisOf(`${cache}.${name}`, input)
  }
  const chosen = <A>(
    name: "absent" | "failed",
    input: Duration.DurationInput | ((about: A) => Duration.DurationInput) | undefined
  ) => {
    if (input === undefined) return undefined
    if (typeof input === "function")
      return (about: A) => millisOf(`the lifetime that ${name} chose for ${cache}`, input(about))
    const always = millisOf(`${cache}.${name}`, input)
    return () => always
  }
  const hardTimeout = millis("hardTimeout")
  const { lifetime } = options
  return {
    name: options.name,
    span: toSpan({ idle: options.idle, max: options.max }, cache),
    lifetime: lifetime && ((value, key) => toSpan(lifetime(value, key), `the lifetime chosen for ${cache}`)),
    policy:
      capacity === undefined
        ? maxWeight === undefined
          ? undefined
          : new Recency(Number.POSITIVE_INFINITY)
        : options.policy === "lru"
          ? new Recency(capacity)
          : new TinyLfu(capacity),
    // Sound, here and below: what runs for the cache runs in the context of `make`, which has all that R asks for.
    lookup: options.lookup as ((key: K) => Effect.Effect<Option.Option<V>, E>) | undefined,
    lookupAll: options.lookupAll as Settings<K, V, E>["lookupAll"],
    batchSize,
    absent: chosen<K>("absent", options.absent),
    failed: chosen<E>("failed", options.failed),
    grace: millis("grace"),
    staleWhileRevalidate: millis("staleWhileRevalidate"),
    softTimeout: millis("softTimeout"),
    hardTimeout: hardTimeout === Number.POSITIVE_INFINITY ? undefined : hardTimeout,
    onTimeout: options.onTimeout,
    onAbandoned: options.onAbandoned,
    refreshAhead,
    jitter,
    tags: options.tags,
    weight: options.weight,
    maxWeight,
    onRemoval: options.onRemoval as Settings<K, V, E>["onRemoval"],
    onRestart: options.onRestart,
    hitAges: options.hitAges
  }
}
