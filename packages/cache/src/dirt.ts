import { KeyMap, keyOf } from "./keyMap.js"

interface Mark<K> {
  readonly key: K
  writers: number
}

/**
 * The keys that open transactions have written, each counted as often as it was. A transaction reads them around the cache.
 *
 * It is not recorded which transaction wrote which key, so every open one reads around what any of them has written. That costs the others a load for such a
 * key, and is never wrong: what they find there, they read from the database. To tell them apart would take the transaction's identity, through all its savepoints,
 * for each read in one.
 */
export class Dirt<K> {
  private readonly marks = new KeyMap<K, Mark<K>>(keyOf)
  private all = 0

  private readonly tags = new Map<string, number>()

  /** How many marks there are, on keys, tags and everything. */
  open = 0

  /** How many keys and tags are marked: for tests. */
  get size(): number {
    return this.marks.size + this.tags.size
  }

  get hasTags(): boolean {
    return this.tags.size > 0
  }

  hasTag(tag: string): boolean {
    return this.tags.has(tag)
  }

  has(key: K): boolean {
    return this.all > 0 || this.marks.get(key) !== undefined
  }

  /** Marks a key; the answer takes the mark back, once. */
  one(key: K): () => void {
    const mark = this.marks.get(key) ?? { key, writers: 0 }
    mark.writers += 1
    this.marks.set(key, mark)
    this.open += 1
    return once(() => {
      this.open -= 1
      mark.writers -= 1
      if (mark.writers === 0) this.marks.remove(key, mark)
    })
  }

  /** Marks whatever carries the tag. */
  tag(tag: string): () => void {
    this.tags.set(tag, (this.tags.get(tag) ?? 0) + 1)
    this.open += 1
    return once(() => {
      this.open -= 1
      const writers = (this.tags.get(tag) ?? 1) - 1
      if (writers === 0) this.tags.delete(tag)
      else this.tags.set(tag, writers)
    })
  }

  everything(): () => void {
    this.all += 1
    this.open += 1
    return once(() => {
      this.open -= 1
      this.all -= 1
    })
  }
}

const once = (run: () => void): (() => void) => {
  let done = false
  return () => {
    if (done) return
    done = true
    run()
  }
}
