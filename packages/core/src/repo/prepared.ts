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
  renamings.clear()
}

/** What PostgreSQL says then. */
export const isStale = (code: unknown, message: unknown): boolean =>
  (code === "0A000" && typeof message === "string" && message.includes("cached plan")) || code === "26000"

/** Errors of statements that had been prepared before, and the texts of those. */
const ofReused = new WeakMap<object, string>()

/** A statement failed that was not prepared anew. */
export const failedReused = (error: object, text: string): void => {
  ofReused.set(error, text)
}

/** Where the types of parameters do not fit any more, PostgreSQL finds no operator, no cast, or no value of that type in a text. */
const ofTypes: ReadonlySet<unknown> = new Set(["42883", "42804", "42846"])

/** Where PostgreSQL says that it was reading a parameter: `unnamed portal parameter $1`, in whatever language, perhaps with its value. */
const isOfParameter = /\$\d+(?: = .*)?$/m

/**
 * The text of a statement that may have failed because its parameters have other types than when it was prepared: those stay, whatever becomes of its
 * table. A value that no type takes fails alike, so only running it anew tells. What failed within a function of the database was run: that may have done
 * something that no rollback undoes.
 */
export const perhapsOutdated = (error: unknown): string | undefined =>
  mayBeOfTypes(error) ? ofReused.get(Object(error)) : undefined

const mayBeOfTypes = (error: unknown): boolean => {
  const { code, where }: { readonly code?: unknown; readonly where?: unknown } = Object(error)
  if (typeof where === "string" && !isOfParameter.test(where)) return false
  return typeof code === "string" && (code.startsWith("22") || ofTypes.has(code))
}

/** How often a text gets another name without anybody knowing that it needs one: the server keeps what was prepared under the others. */
const maximalRenamings = 4
const renamings = new Map<string, number>()

/** From now on a statement is prepared anew, under another name. */
export const renamed = (text: string): void => {
  const times = renamings.get(text) ?? 0
  if (times >= maximalRenamings || !names.has(text)) return
  renamings.set(text, times + 1)
  names.set(text, `${nameOf(text)}_`)
}

/** Where statements that were sent together fail like that, it may be any of them: those beside the one that was asked for get other names. */
export const renamedWhereOutdated = (error: unknown, others: ReadonlyArray<{ readonly text: string }>): void => {
  if (mayBeOfTypes(error)) for (const { text } of others) renamed(text)
}
