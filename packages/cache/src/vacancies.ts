/**
 * Which slots are free, and how columns become shorter again.
 *
 * The free slots are a list: each has, in the place of its deadline, the number of the next. When most slots are free, the entries of the upper half are moved
 * below, a few at a time, and the upper half is given back; that is what `settle` does.
 */
import { FEWEST, NONE, type Slot } from "./slot.js"

/** The columns whose slots these are. */
export interface Columns {
  readonly deadlines: Float64Array
  /** How many slots are in use. */
  readonly size: number
  readonly isUsed: (slot: Slot) => boolean
  /** Moves an entry, and gives back the slot that it leaves. */
  readonly move: (from: Slot, to: Slot) => void
  readonly resize: (slots: number) => void
  /** There are no slots from here on any more. */
  readonly cut: (slots: number) => void
}

export class Vacancies {
  /** Slots from here on were never used. */
  private used = 0
  /** The free slots; while the upper half is being emptied, those of which nobody has looked yet in which half they are. */
  private free = NONE
  private lower = NONE
  private upper = NONE
  /** While the upper half is being emptied, how many slots there are below; else 0. */
  private half = 0
  /** Those from here on have been emptied. */
  private bottom = 0

  constructor(
    private readonly columns: Columns,
    /** There are more entries than that for the length of a step only. */
    private readonly most: number
  ) {}

  /** A slot for a new entry. */
  take(): Slot {
    if (this.lower !== NONE) {
      const slot = this.lower
      this.lower = this.after(slot)
      return slot
    }
    // More has come than there is room for below.
    if (this.half > 0 && this.free === NONE) this.stop(this.upper)
    if (this.free !== NONE) return this.pop()
    if (this.used === this.room) this.grow()
    this.used += 1
    return this.used - 1
  }

  /** This slot is free. */
  give(slot: Slot): void {
    const { deadlines } = this.columns
    if (this.half === 0) {
      deadlines[slot] = this.free
      this.free = slot
    } else if (slot < this.half) {
      deadlines[slot] = this.lower
      this.lower = slot
    } else {
      deadlines[slot] = this.upper
      this.upper = slot
    }
  }

  /** No slot is in use, of columns that are as short as they can be. */
  clear(): void {
    this.used = 0
    this.stop(NONE)
  }

  /** Whether there is nothing to give back. */
  get isSettled(): boolean {
    return this.half === 0 && !this.isTooLarge
  }

  /** Takes so many steps towards that, and says whether it got there. */
  settle(limit: number): boolean {
    for (let steps = 0; !this.isSettled; steps += 1) {
      if (steps >= limit) return false
      if (this.half === 0) this.halve()
      else if (this.free !== NONE) this.give(this.pop())
      else if (this.bottom === this.half) this.cut()
      else this.empty()
    }
    return true
  }

  private get room(): number {
    return this.columns.deadlines.length
  }

  private get isTooLarge(): boolean {
    return this.room > FEWEST && this.columns.size * 4 <= this.room
  }

  private after(slot: Slot): Slot {
    return this.columns.deadlines[slot] ?? NONE
  }

  private pop(): Slot {
    const slot = this.free
    this.free = this.after(slot)
    return slot
  }

  private grow(): void {
    const twice = this.room * 2
    this.columns.resize(this.room > this.most ? twice : Math.min(twice, this.most + 1))
  }

  private halve(): void {
    this.half = Math.max(this.room >>> 1, FEWEST)
    this.bottom = Math.max(this.used, this.half)
  }

  /** Moves the uppermost entry below. */
  private empty(): void {
    // More has come than there is room for below. Nothing is moved up: the columns beside need not reach there.
    if (this.lower === NONE) {
      this.stop(this.upper)
      return
    }
    this.bottom -= 1
    if (this.columns.isUsed(this.bottom)) this.columns.move(this.bottom, this.take())
  }

  /** Gives the upper half back. */
  private cut(): void {
    this.columns.cut(this.half)
    this.used = Math.min(this.used, this.half)
    this.stop(this.lower)
  }

  /** The upper half is not being emptied any more; these are the free slots. */
  private stop(free: Slot): void {
    this.free = free
    this.lower = NONE
    this.upper = NONE
    this.half = 0
  }
}
