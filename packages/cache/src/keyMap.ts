/**
 * A map from a cache's keys to the objects kept under them.
 *
 * Primitive keys, and objects without an equality of their own, go straight to a native Map. What Equal compares by its contents (`Data.tuple`, `Data.struct`,
 * case classes, and of JavaScript's own objects Date and URL) is filed by hash, and equal ones are one key. So such a key must not change while it is in here. Each value carries its key, so that whoever holds a value can ask for the removal of
 * *that* value: nothing is ever removed or replaced by key alone without looking first.
 */
import { Equal, Hash } from "effect"

export interface Keyed<K> {
  readonly key: K
}

const hasEquality = (key: unknown): boolean =>
  (typeof key === "object" || typeof key === "function") &&
  key !== null &&
  (Equal.isEqual(key) || key instanceof Date || key instanceof URL)

export class KeyMap<K, V extends Keyed<K>> {
  readonly plain = new Map<K, V>()
  private hashed: Map<number, Array<V>> | undefined = undefined
  private hashedSize = 0

  get size(): number {
    return this.plain.size + this.hashedSize
  }

  get(key: K): V | undefined {
    if ((typeof key !== "object" && typeof key !== "function") || !hasEquality(key)) return this.plain.get(key)
    if (this.hashed === undefined) return undefined
    return this.hashed.get(Hash.hash(key))?.find((value) => Equal.equals(value.key, key))
  }

  /** Puts a value in the place of what is there under its key. */
  set(value: V): void {
    const key = value.key
    if (!hasEquality(key)) {
      this.plain.set(key, value)
      return
    }
    this.hashed ??= new Map()
    const hash = Hash.hash(key)
    const bucket = this.hashed.get(hash)
    if (bucket === undefined) {
      this.hashed.set(hash, [value])
      this.hashedSize += 1
      return
    }
    const place = bucket.findIndex((there) => Equal.equals(there.key, key))
    if (place >= 0) bucket[place] = value
    else {
      bucket.push(value)
      this.hashedSize += 1
    }
  }

  /** Removes this very value; anything else under its key stays. */
  remove(value: V): boolean {
    const key = value.key
    if (!hasEquality(key)) return this.plain.get(key) === value && this.plain.delete(key)
    const hash = Hash.hash(key)
    const bucket = this.hashed?.get(hash)
    const place = bucket?.indexOf(value) ?? -1
    if (bucket === undefined || place < 0) return false
    if (bucket.length === 1) this.hashed?.delete(hash)
    else bucket.splice(place, 1)
    this.hashedSize -= 1
    return true
  }

  clear(): void {
    this.plain.clear()
    this.hashed = undefined
    this.hashedSize = 0
  }

  *values(): IterableIterator<V> {
    yield* this.plain.values()
    if (this.hashed !== undefined) for (const bucket of this.hashed.values()) yield* bucket
  }
}
