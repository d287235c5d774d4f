/**
 * What can go wrong with a cache itself. What a load fails with passes through as it is.
 *
 * @since 0.1.0
 */
import { Data } from "effect"

/**
 * `fetch` found nothing: the key is not in the cache and neither `lookup` nor a hook had a value for it.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotCached extends Data.TaggedError("NotCached")<{
  readonly cache: string
  readonly key: unknown
}> {
  override get message() {
    return `cache ${JSON.stringify(this.cache)} has no value for ${showKey(this.key)}, and nothing that could load one had it either`
  }
}

/**
 * The cache no longer exists: its scope has ended or its service fiber has died. Every operation of it ends with this defect, and so does every
 * wait for a load that was in flight.
 *
 * @since 0.1.0
 * @category errors
 */
export class CacheClosed extends Data.TaggedError("CacheClosed")<{
  readonly cache: string
  readonly reason: string
  readonly cause?: unknown
}> {
  override get message() {
    return `cache ${JSON.stringify(this.cache)} is closed: ${this.reason}, so nothing can be looked up any more`
  }
}

/**
 * A load took longer than the cache's `hardTimeout`. It was interrupted; nothing is kept. A defect, unless `onTimeout` makes a failure of it.
 *
 * @since 0.1.0
 * @category errors
 */
export class LoadTimedOut extends Data.TaggedError("LoadTimedOut")<{
  readonly cache: string
  readonly keys: ReadonlyArray<unknown>
  readonly millis: number
}> {
  override get message() {
    const keys = this.keys.slice(0, 3).map(showKey).join(", ") + (this.keys.length > 3 ? ", …" : "")
    return `cache ${JSON.stringify(this.cache)} gave up loading ${keys} after ${this.millis} ms: raise hardTimeout, or make the load quicker`
  }
}

/**
 * A load waits for itself: it asked, directly or through other loads, for the key that it is loading. A defect: without it all of them would wait for
 * ever. `path` names the keys in the order in which they were asked for, the first one again at the end.
 *
 * @since 0.1.0
 * @category errors
 */
export class CyclicLoad extends Data.TaggedError("CyclicLoad")<{
  readonly path: ReadonlyArray<{ readonly cache: string; readonly key: unknown }>
}> {
  override get message() {
    const path = this.path.map(({ cache, key }) => `${cache}:${showKey(key)}`).join(" → ")
    return `a load waits for itself: ${path}. Load what both need under a key of its own, or pass the value on instead of asking for it again.`
  }
}

const showKey = (key: unknown): string => {
  if (typeof key === "string") return key
  try {
    return typeof key === "object" && key !== null ? JSON.stringify(key) : String(key)
  } catch {
    return String(key)
  }
}
