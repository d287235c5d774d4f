/** What advisory locks are about: names, made into the numbers that PostgreSQL locks. */
import { createHash } from "node:crypto"
import { unknownWord } from "../repo/word.js"

/**
 * What PostgreSQL locks: a signed number of 64 bits. `label` is what logs and errors call it.
 *
 * @since 0.1.0
 * @category models
 */
export interface LockKey {
  readonly value: bigint
  readonly label: string
}

/**
 * The key of a name: the first eight bytes of its SHA-1, read as a signed number, most significant byte first.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { AdvisoryLock } from "@effecto/core"
 *
 * console.log(AdvisoryLock.key("foo").value) // 859844163007352795n
 * ```
 */
export const key = (name: string): LockKey => ({
  value: createHash("sha1").update(name, "utf8").digest().readBigInt64BE(0),
  label: name
})

/**
 * The key of something named by parts, in a space of its own: the first eight bytes of a SHA-256 over all of them, read like {@link key}. No two lists of
 * parts are the same text, and `1` is another part than `"1"`. Throws a `TypeError` when a number is `NaN` or infinite: nothing has that name.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { AdvisoryLock } from "@effecto/core"
 *
 * console.log(AdvisoryLock.keyOf("invoice", 42).label) // invoice/42
 * ```
 */
export const keyOf = (namespace: string, ...parts: ReadonlyArray<string | number | bigint>): LockKey => {
  const text = JSON.stringify([namespace, ...parts.map((part, place) => partOf(namespace, part, place))])
  return {
    value: createHash("sha256").update(text, "utf8").digest().readBigInt64BE(0),
    label: [namespace, ...parts].join("/")
  }
}

/** JSON writes `null` for every number that it cannot write: unlike names would be one lock. */
const partOf = (namespace: string, part: unknown, place: number) => {
  if (typeof part === "bigint") return { bigint: `${part}` }
  if (typeof part === "string" || (typeof part === "number" && Number.isFinite(part))) return part
  throw new TypeError(
    `part ${place + 1} of the lock key "${namespace}" is ${String(part)}: it has to be a string, a finite number or a bigint`
  )
}

const modes = { exclusive: "", shared: "_shared" }

/** What a mode adds to the name of PostgreSQL's function; one that was forced past its type is a defect. */
export const modeText = (mode: "exclusive" | "shared" | undefined): string => {
  if (mode === undefined) return ""
  if (!Object.hasOwn(modes, mode)) throw new TypeError(unknownWord("mode", mode, Object.keys(modes)))
  return modes[mode]
}

export const toKey = (name: string | LockKey): LockKey => (typeof name === "string" ? key(name) : name)

/** The keys in the order in which everybody takes them, so that no two wait for each other. */
export const inOrder = (names: string | LockKey | ReadonlyArray<string | LockKey>): ReadonlyArray<LockKey> =>
  (typeof names === "string" || "value" in names ? [names] : names)
    .map(toKey)
    .sort((a, b) => (a.value < b.value ? -1 : a.value > b.value ? 1 : 0))

/** What messages call them. */
export const labelOf = (keys: ReadonlyArray<LockKey>): string => keys.map(({ label }) => `"${label}"`).join(", ")
