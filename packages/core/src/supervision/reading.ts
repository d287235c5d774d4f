/**
 * How a handle reads a member of its service: with a function of its own for each name.
 *
 * One function for all names would have to look each of them up anew: the engine remembers where a member is by the place in the
 * program that reads it, and gives up where one place reads many names. That takes longer than all the rest of a call. So the text
 * of the function is made once for each name, for all handles; where a program may not be made of text
 * (`--disallow-code-generation-from-strings`), and for symbols, one function for all has to do.
 */
import type { Instance, Slot } from "./instance.js"

/** The service of the instance that was reached last: what most reads need, without a call for it. */
export interface Reached {
  instance: Instance | undefined
  service: object
}

/** What was made for the member, and what it was made for. */
export interface Memo {
  seen: unknown
  made: unknown
}

type Reading = (
  slot: Slot,
  at: Reached,
  latest: () => object,
  memo: Memo,
  anew: (value: unknown) => unknown
) => () => unknown

const textOf = (name: string): string => `return () => {
  const value = (slot.last === at.instance ? at.service : latest())[${JSON.stringify(name)}]
  return value === memo.seen ? memo.made : anew(value)
}`

const readings = new Map<string, Reading | undefined>()

/** How many names have a function: it is kept for good, and a service may be a dictionary with any number of them. */
const most = 4096

const readingOf = (name: string): Reading | undefined => {
  if (readings.has(name) || readings.size === most) return readings.get(name)
  let reading: Reading | undefined
  try {
    reading = new Function("slot", "at", "latest", "memo", "anew", textOf(name)) as Reading // it has these parameters
  } catch {
    // Not allowed here.
  }
  readings.set(name, reading)
  return reading
}

/** Reads a member of what `latest` answers: what was made for it, or what `anew` makes of it when it has become another one. */
export const reading = (
  slot: Slot,
  at: Reached | undefined,
  latest: () => object,
  property: PropertyKey,
  memo: Memo,
  anew: (value: unknown) => unknown
): (() => unknown) => {
  const own =
    typeof property === "string" && at !== undefined ? readingOf(property)?.(slot, at, latest, memo, anew) : undefined
  return (
    own ??
    (() => {
      // An ordinary read: `Reflect.get` is a call of the engine's that takes longer than this one.
      const value: unknown = latest()[property as never]
      return value === memo.seen ? memo.made : anew(value)
    })
  )
}
