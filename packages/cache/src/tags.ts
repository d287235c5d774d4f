/**
 * Which entries and absences carry which tags: an index in both directions, so that a tag is invalidated in as many steps as it has entries, and nothing is
 * left of an entry that goes. What has no tags is not in here.
 */
export class Tags<T> {
  private readonly byTag = new Map<string, Set<T>>()
  private readonly byThing = new Map<T, ReadonlyArray<string>>()

  /** How many are indexed. */
  get size(): number {
    return this.byThing.size
  }

  /** How many tags are in use: for tests. */
  get count(): number {
    return this.byTag.size
  }

  add(thing: T, tags: ReadonlyArray<string>): void {
    if (tags.length === 0) return
    this.byThing.set(thing, tags)
    for (const tag of tags) {
      const tagged = this.byTag.get(tag)
      if (tagged === undefined) this.byTag.set(tag, new Set([thing]))
      else tagged.add(thing)
    }
  }

  remove(thing: T): void {
    const tags = this.byThing.get(thing)
    if (tags === undefined) return
    this.byThing.delete(thing)
    for (const tag of tags) {
      const tagged = this.byTag.get(tag)
      tagged?.delete(thing)
      if (tagged?.size === 0) this.byTag.delete(tag)
    }
  }

  /** What one carries, another one does now. */
  move(from: T, to: T): void {
    const tags = this.byThing.get(from)
    if (tags === undefined) return
    this.remove(from)
    this.add(to, tags)
  }

  of(thing: T): ReadonlyArray<string> {
    return this.byThing.get(thing) ?? []
  }

  with(tag: string): ReadonlyArray<T> {
    const tagged = this.byTag.get(tag)
    return tagged === undefined ? [] : [...tagged]
  }

  clear(): void {
    this.byTag.clear()
    this.byThing.clear()
  }
}
