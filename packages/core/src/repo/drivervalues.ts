/**
 * How `pg` writes a date, which depends on how it was set up (`defaults.parseInputDatesAsUTC`): asked of the driver itself, once, by having one of its own
 * queries bind a parameter to a connection that is none.
 */
import { Predicate } from "effect"

/** Gives the text that a date is sent as. */
export type WriteDate = (date: Date) => string | undefined

type Write = (value: unknown) => unknown

/** `pg`'s Query, as far as it is used here. */
type QueryClass = new (config: {
  readonly text: string
  readonly values: ReadonlyArray<unknown>
}) => { prepare(connection: object): void }

const nothing = () => {}

const writerOf = (driver: object): Write | undefined => {
  const Class: unknown = driver.constructor
  if (typeof Class !== "function" || !Predicate.hasProperty(Class, "Query") || typeof Class.Query !== "function")
    return undefined
  let found: unknown
  try {
    // Sound: if it is anything else it throws, or binds nothing.
    const query = new (Class.Query as QueryClass)({ text: "", values: [null] })
    query.prepare({
      parsedStatements: {},
      submittedNamedStatements: {},
      parse: nothing,
      bind: ({ valueMapper }: { readonly valueMapper?: unknown }) => {
        found = valueMapper
      },
      describe: nothing,
      execute: nothing,
      flush: nothing,
      sync: nothing,
      close: nothing
    })
  } catch {
    return undefined
  }
  // Sound: it takes whatever a parameter can be.
  return typeof found === "function" ? (found as Write) : undefined
}

const writers = new WeakMap<object, WriteDate>()

/** How this driver writes dates; nothing where it does not say so. */
export const dateWriter = (driver: object): WriteDate => {
  const known = writers.get(driver.constructor)
  if (known !== undefined) return known
  const write = writerOf(driver)
  const writeDate: WriteDate = (date) => {
    const text = write?.(date)
    return typeof text === "string" ? text : undefined
  }
  writers.set(driver.constructor, writeDate)
  return writeDate
}
