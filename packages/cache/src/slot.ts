/** The number of an entry, and columns of what is known of each. */

/** Where in the columns an entry is. */
export type Slot = number

/** No slot, in columns of slots. */
export const NONE = -1

/** Slots of the smallest columns: these are never made smaller. */
export const FEWEST = 16

/** A column for what is no number, which can hold anything from the start: one that has seen numbers only would be made anew for the first text. */
export const column = <A>(slots: number): Array<A | undefined> => {
  const made: Array<A | undefined> = [undefined]
  made.length = slots
  return made
}

/** The same numbers in a column of another length, and this one where it is longer. */
export const lengthened = (numbers: Float64Array, length: number, filler: number): Float64Array<ArrayBuffer> => {
  const made = new Float64Array(length)
  made.set(numbers.subarray(0, length))
  if (length > numbers.length) made.fill(filler, numbers.length)
  return made
}

/** The same slots in a column of another length. */
export const resized = (slots: Int32Array, length: number): Int32Array<ArrayBuffer> => {
  const made = new Int32Array(length)
  made.set(slots.subarray(0, length))
  if (length > slots.length) made.fill(NONE, slots.length)
  return made
}
