/**
 * What is kept by key until a deadline, in columns.
 *
 * An entry is a number, its slot: the place of its key, its value and its deadline in an array of each kind. An object for each would take 24 bytes before it
 * holds anything, and 8 for each number and each link; the collector would have to find and follow it, and a hit to fetch it from wherever in memory it lies.
 *
 *        map: key ──▶ slot          0     1     2     3     4    …
 *                     keys        [ k ] [ k ] [   ] [ k ] [   ]        a free slot has no key, and in the place of
 *                     values      [ v ] [ v ] [   ] [ v ] [   ]        its deadline the number of the next free one
 *                     deadlines   [ d ] [ d ] [ 4 ] [ d ] [ – ]
 *
 * A slot belongs to its entry for as long as that is in here, and to another one after that: nobody keeps one from one step to the next. Which are free, and
 * how the columns become shorter again, is in `vacancies.ts`.
 */
import { Expiry } from "./expiry.js"
import { KeyMap } from "./keyMap.js"
import { column, FEWEST, resized, type Slot } from "./slot.js"
import { Tags } from "./tags.js"
import { Vacancies } from "./vacancies.js"

export interface EntriesOptions {
  /** Milliseconds that a read grants to most. */
  readonly idle?: number | undefined
  /** How long after its deadline something stays filed. */
  readonly grace?: number | undefined
  /** There are more entries than that for the length of a step only. */
  readonly most?: number | undefined
  readonly beside?: Beside | undefined
}

/** Columns that somebody keeps of the same entries. */
export interface Beside {
  /** An entry has gone to another slot. */
  readonly move: (from: Slot, to: Slot) => void
  /** There are no slots from here on any more. */
  readonly cut: (slots: number) => void
}

/** Writes into a column that is made for the first number that is not the usual one. */
const written = (
  numbers: Float64Array | undefined,
  slot: Slot,
  number: number,
  usual: number,
  room: number
): Float64Array | undefined => {
  if (numbers === undefined && number === usual) return undefined
  const made = numbers ?? new Float64Array(room).fill(usual)
  made[slot] = number
  return made
}

export class Entries<K, V> {
  private readonly map: KeyMap<K, Slot> = new KeyMap((slot) => this.keyOf(slot))
  private keys = column<K>(FEWEST)
  private values = column<V>(FEWEST)
  /** In milliseconds of the cache's time line. Not expired before it, expired from it on. */
  deadlines = new Float64Array(FEWEST)
  /** Made for the first entry that lives otherwise than most; so are those below. */
  private idles: Float64Array | undefined = undefined
  private ends: Float64Array | undefined = undefined
  private weights: Float64Array | undefined = undefined
  private dates: Float64Array | undefined = undefined
  private readonly usualIdle: number
  private readonly beside: Beside | undefined
  readonly expiry: Expiry
  readonly tags = new Tags<Slot>()
  private readonly vacancies: Vacancies

  constructor({ beside, grace, idle, most }: EntriesOptions = {}) {
    this.usualIdle = idle ?? Number.POSITIVE_INFINITY
    this.beside = beside
    this.expiry = new Expiry(this, grace)
    this.vacancies = new Vacancies(this, most ?? Number.POSITIVE_INFINITY)
  }

  get size(): number {
    return this.map.size
  }

  /** How many slots there are. */
  get room(): number {
    return this.deadlines.length
  }

  get(key: K): Slot | undefined {
    return this.map.get(key)
  }

  keyOf(slot: Slot): K {
    return this.keys[slot] as K // a slot in use has a key
  }

  valueOf(slot: Slot): V {
    return this.values[slot] as V // and a value
  }

  deadlineOf(slot: Slot): number {
    return this.deadlines[slot] ?? Number.NaN
  }

  /** Milliseconds that each read grants it. */
  idleOf(slot: Slot): number {
    return this.idles === undefined ? this.usualIdle : (this.idles[slot] ?? Number.NaN)
  }

  /** No read moves its deadline past this. */
  endOf(slot: Slot): number {
    return this.ends === undefined ? Number.POSITIVE_INFINITY : (this.ends[slot] ?? Number.NaN)
  }

  /** What a read does to it. */
  renew(slot: Slot, now: number): void {
    const idle = this.idleOf(slot)
    if (idle !== Number.POSITIVE_INFINITY) this.deadlines[slot] = Math.min(now + idle, this.endOf(slot))
  }

  /** When it was written, where that is recorded. */
  dateOf(slot: Slot): number {
    return this.dates?.[slot] ?? Number.NaN
  }

  weightOf(slot: Slot): number {
    return this.weights?.[slot] ?? 0
  }

  /** All slots in use, in the order in which their keys came. */
  all(): IterableIterator<Slot> {
    return this.map.values()
  }

  /** Something under a key that has nothing. */
  add(key: K, value: V, deadline: number): Slot {
    const slot = this.vacancies.take()
    this.put(slot, key, value, deadline)
    this.map.set(key, slot)
    return slot
  }

  /** Something else in the place of an entry, under an equal key. */
  put(slot: Slot, key: K, value: V, deadline: number): void {
    this.keys[slot] = key
    this.values[slot] = value
    this.deadlines[slot] = deadline
  }

  /** What an entry lives by. */
  live(slot: Slot, idle: number, end: number): void {
    this.idles = written(this.idles, slot, idle, this.usualIdle, this.room)
    this.ends = written(this.ends, slot, end, Number.POSITIVE_INFINITY, this.room)
  }

  weigh(slot: Slot, weight: number): void {
    this.weights = written(this.weights, slot, weight, 0, this.room)
  }

  date(slot: Slot, now: number): void {
    this.dates = written(this.dates, slot, now, Number.NaN, this.room)
  }

  /** Takes out what is filed beside an entry, and goes with it. */
  unfile(slot: Slot): void {
    this.expiry.unfile(slot)
    if (this.tags.size > 0) this.tags.remove(slot)
  }

  remove(slot: Slot): void {
    this.unfile(slot)
    this.map.remove(this.keyOf(slot), slot)
    this.leave(slot)
  }

  /** Nothing is held on to from a free slot. */
  private leave(slot: Slot): void {
    this.keys[slot] = undefined
    this.values[slot] = undefined
    this.vacancies.give(slot)
  }

  clear(): void {
    this.map.clear()
    this.tags.clear()
    this.expiry.clear()
    this.idles = undefined
    this.ends = undefined
    this.weights = undefined
    this.dates = undefined
    this.keys = column(FEWEST)
    this.values = column(FEWEST)
    this.deadlines = new Float64Array(FEWEST)
    this.vacancies.clear()
    this.beside?.cut(FEWEST)
  }

  /** Whether there is nothing to give back. */
  get isSettled(): boolean {
    return this.vacancies.isSettled && this.map.isSettled
  }

  /**
   * Takes so many steps towards giving back what is not needed any more, and says whether there is nothing left to do. Called at the end of a step, and never
   * while somebody holds a slot.
   */
  settle(limit: number): boolean {
    if (this.size === 0 && !this.isSettled) this.clear()
    return this.map.settle(limit) && this.vacancies.settle(limit)
  }

  /** Makes the columns so long. */
  resize(slots: number): void {
    this.keys.length = slots
    this.values.length = slots
    this.deadlines = resized(this.deadlines, slots, Number.NaN)
    if (this.idles !== undefined) this.idles = resized(this.idles, slots, this.usualIdle)
    if (this.ends !== undefined) this.ends = resized(this.ends, slots, Number.POSITIVE_INFINITY)
    if (this.weights !== undefined) this.weights = resized(this.weights, slots, 0)
    if (this.dates !== undefined) this.dates = resized(this.dates, slots, Number.NaN)
  }

  /** There are no slots from here on any more. */
  cut(slots: number): void {
    this.resize(slots)
    this.expiry.cut(slots)
    this.beside?.cut(slots)
  }

  /** Whether an entry is in this slot. */
  isUsed(slot: Slot): boolean {
    return this.map.get(this.keyOf(slot)) === slot
  }

  /** Moves an entry to a slot that was free. */
  move(from: Slot, to: Slot): void {
    this.put(to, this.keyOf(from), this.valueOf(from), this.deadlineOf(from))
    this.map.set(this.keyOf(to), to)
    this.live(to, this.idleOf(from), this.endOf(from))
    this.weigh(to, this.weightOf(from))
    if (this.dates !== undefined) this.date(to, this.dateOf(from))
    this.expiry.move(from, to)
    this.tags.move(from, to)
    this.beside?.move(from, to)
    this.leave(from)
  }
}
