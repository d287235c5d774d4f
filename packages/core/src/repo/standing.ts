/** Values that stand in every statement of a call, because a middleware narrows it to rows that have them: a tenant's, for example. */
import { onlyInserts } from "./sqltext.js"

/** No text of a statement has this character, so PostgreSQL refuses what was forgotten. */
const mark = "\u0001"

/** What stands for the value of a field in the text of a statement. */
export const standsFor = (field: string): string => `${mark}${field}${mark}`

const places = new RegExp(`${mark}([^${mark}]*)${mark}`, "g")

/** A statement as it is sent; `cannot` when it would see other rows too, and must not be. */
export interface Filled {
  readonly text: string
  readonly parameters: ReadonlyArray<unknown>
  readonly cannot: boolean
}

/**
 * A statement with values in those places, behind its own parameters. One without any such place would see other rows too, unless it only inserts: it
 * must not be sent.
 */
export const filledIn = (
  text: string,
  parameters: ReadonlyArray<unknown>,
  standing: ReadonlyMap<string, unknown>
): Filled => {
  const numbers = new Map<string, number>()
  const all = [...parameters]
  const filled = text.replace(places, (_, field: string) => {
    let number = numbers.get(field)
    if (number === undefined) {
      all.push(standing.get(field))
      number = all.length
      numbers.set(field, number)
    }
    return `$${number}`
  })
  if (numbers.size < standing.size && !(numbers.size === 0 && onlyInserts(text)))
    return { text: "", parameters: [], cannot: true }
  return { text: filled, parameters: all, cannot: false }
}
