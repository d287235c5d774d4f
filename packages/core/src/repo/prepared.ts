/**
 * Names for statements that come again, so that PostgreSQL parses and plans them once for each connection.
 *
 * `pg` prepares what it is given a name for. @effect/sql-pg hands the statement on to it untouched, so the name travels in the place of the text.
 */

const names = new Map<string, string>()
let generation = 0

/** Beyond this many texts, statements go unnamed: a program that makes up texts must not fill the server's memory. */
const maximalNames = 1000

const nameOf = (text: string): string | undefined => {
  let name = names.get(text)
  if (name === undefined && names.size < maximalNames) {
    name = `effecto_${generation}_${names.size}`
    names.set(text, name)
  }
  return name
}

/** A statement as it is sent. */
export interface Statement {
  readonly text: string
  /** Under which it is prepared, when it comes again. */
  readonly name: string | undefined
  /** Whether its rows are to be lists of their values. */
  readonly asLists: boolean
}

export const statementFor = (text: string, prepared: boolean, asLists: boolean): Statement => ({
  text,
  name: prepared ? nameOf(text) : undefined,
  asLists
})

/** A statement for a driver that is `pg`'s, or another one, which understands texts only. */
export const toDriver = ({ asLists, name, text }: Statement): string =>
  name === undefined && !asLists
    ? text
    : // Sound: `pg` takes an object here as well as a text, and @effect/sql-pg gives it what it gets. `pg` writes to the object, so each call has its own.
      ({ name, text, rowMode: asLists ? "array" : undefined } as unknown as string)

/** What was prepared does not fit the table any more: it was altered. From now on the statements are prepared anew, under other names. */
export const forgetPrepared = (): void => {
  generation += 1
  names.clear()
}

/** What PostgreSQL says then. */
export const isStale = (code: unknown, message: unknown): boolean =>
  (code === "0A000" && typeof message === "string" && message.includes("cached plan")) || code === "26000"
