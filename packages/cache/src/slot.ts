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

/** The same numbers in a column of another length; where it is longer, the filler. */
export const resized = <A extends Float64Array | Int32Array | Uint8Array>(
  numbers: A,
  length: number,
  filler: number
): A => {
  const made = new (numbers.constructor as new (length: number) => A)(length) // of the same kind
  made.set(numbers.subarray(0, length))
  if (length > numbers.length) made.fill(filler, numbers.length)
  return made
}
