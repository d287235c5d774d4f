/**
 * What a change feed sends: which rows were changed, as JSON of less than 8,000 bytes. The trigger of `feedtrigger.ts` writes the same.
 *
 *   {"v":1,"s":"sender","n":7,"c":[6,4],"t":[[null,"people",[1,{"b":"2"}]],["app","seats",0]],"at":1700000000000}
 *
 * `t` names tables (schema, name, keys; 0 where it is not known which rows), or is 0 for everything. `s`, `n` and `c` are for finding gaps (`feedledger.ts`); a
 * trigger has none. `p` numbers a probe. `at` is the server's own time when this was sent. Whoever reads one that it does not understand forgets everything.
 */
import type { Change } from "@effecto/core/Announcement"

/** Who sent it, and what it knew of the fate of what it had sent before. */
export interface Stamp {
  readonly sender: string
  /** Counts what this sender has sent in transactions; none for a probe. */
  readonly number: number | undefined
  /** The end of all up to this number is known. */
  readonly closed: number
  /** So many of those were committed. */
  readonly committed: number
}

export interface Message {
  readonly changes: ReadonlyArray<Change> | "all"
  readonly stamp: Stamp | undefined
  readonly probe: number | undefined
  readonly at: number | undefined
}

export const VERSION = 1

/** PostgreSQL refuses a payload of 8,000 bytes. */
const LIMIT = 7_999
/** What is put behind it on the server: digits of a time, and a brace. */
const TAIL = 24

const bytes = new TextEncoder()
const sizeOf = (text: string): number => bytes.encode(text).length
/** No character has more than three bytes for each of its places: most texts need no counting. */
const isShort = (text: string): boolean => text.length * 3 <= LIMIT - TAIL || sizeOf(text) <= LIMIT - TAIL

/** A key as JSON has it, or nothing for what JSON has not. */
const written = (key: unknown): unknown => {
  switch (typeof key) {
    case "string":
    case "boolean":
      return key
    case "number":
      return Number.isFinite(key) ? key : undefined
    case "bigint":
      return { b: String(key) }
    case "object": {
      if (key === null || Array.isArray(key)) return undefined
      if (key instanceof Date) return Number.isNaN(key.getTime()) ? undefined : { d: key.toISOString() }
      const proto: unknown = Object.getPrototypeOf(key)
      if (proto !== Object.prototype && proto !== null) return undefined
      const fields = Object.entries(key).map(([field, value]) => [field, written(value)] as const)
      return fields.some(([, value]) => value === undefined) ? undefined : { k: Object.fromEntries(fields) }
    }
    default:
      return undefined
  }
}

class Unreadable extends Error {}

const refuse = (what: string): never => {
  throw new Unreadable(what)
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const read = (key: unknown): unknown => {
  if (typeof key === "string" || typeof key === "number" || typeof key === "boolean") return key
  if (!isRecord(key)) return refuse("a key")
  if (typeof key.b === "string" && /^-?\d+$/.test(key.b)) return BigInt(key.b)
  if (typeof key.d === "string") {
    const date = new Date(key.d)
    return Number.isNaN(date.getTime()) ? refuse("a date") : date
  }
  if (isRecord(key.k)) return Object.fromEntries(Object.entries(key.k).map(([field, value]) => [field, read(value)]))
  return refuse("a key")
}

type Line = readonly [schema: string | null, table: string, keys: ReadonlyArray<unknown> | 0]

const lineOf = ({ keys, schema, table }: Change): Line => {
  const all = keys === "all" ? undefined : keys.map(written)
  return [schema ?? null, table, all === undefined || all.includes(undefined) ? 0 : all]
}

const textOf = (stamp: Stamp, probe: number | undefined, lines: ReadonlyArray<Line> | 0): string =>
  JSON.stringify({
    v: VERSION,
    s: stamp.sender,
    n: stamp.number,
    c: [stamp.closed, stamp.committed],
    p: probe,
    t: lines
  })

/**
 * The payload up to the time that the server adds, and `}` behind it. What would be too long is folded: the table with most to say to the table alone, the
 * next one, and in the end to everything.
 */
export const encode = (stamp: Stamp, changes: ReadonlyArray<Change>): string => {
  const lines: Array<Line> = changes.map(lineOf)
  const text = textOf(stamp, undefined, lines)
  const head = isShort(text) ? text : textOf(stamp, undefined, folded(lines, sizeOf(text)))
  return `${head.slice(0, -1)},"at":`
}

/** Lines whose text, all in all, is no longer than it may be; it has so many bytes as they are. */
const folded = (lines: ReadonlyArray<Line>, size: number): ReadonlyArray<Line> | 0 => {
  let left = size
  // What is saved by telling a table alone, each of them looked at once.
  const savings = lines.map(([, , keys], place) => ({
    place,
    bytes: keys === 0 ? 0 : sizeOf(JSON.stringify(keys)) - 1
  }))
  const told = [...lines]
  for (const { bytes, place } of savings.sort((one, other) => other.bytes - one.bytes)) {
    if (left <= LIMIT - TAIL || bytes === 0) break
    const [schema, table] = told[place] as Line // a place of it
    told[place] = [schema, table, 0]
    left -= bytes
  }
  return left <= LIMIT - TAIL ? told : 0
}

/** A message that changes nothing and comes back to who sent it. */
export const encodeProbe = (stamp: Stamp, probe: number): string => textOf(stamp, probe, [])

const changeOf = (line: unknown): Change => {
  if (!Array.isArray(line)) return refuse("a table")
  const [schema, table, keys] = line as ReadonlyArray<unknown>
  if ((schema !== null && typeof schema !== "string") || typeof table !== "string") return refuse("a table's name")
  const named = { schema: schema ?? undefined, table }
  if (!Array.isArray(keys)) return { ...named, keys: "all" }
  try {
    return { ...named, keys: keys.map(read) }
  } catch {
    // Which rows is not known then, but which table is.
    return { ...named, keys: "all" }
  }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const stampOf = ({ c, n, s }: Readonly<Record<string, unknown>>): Stamp | undefined => {
  if (s === undefined) return undefined
  if (typeof s !== "string" || !Array.isArray(c) || (n !== undefined && !isCount(n))) return refuse("a sender")
  const [closed, committed] = c as ReadonlyArray<unknown>
  return isCount(closed) && isCount(committed) ? { sender: s, number: n, closed, committed } : refuse("a count")
}

/**
 * The number of a message that {@link encode} made for this sender, found without reading all of it: a process hears each of its own. Nothing where it is
 * another's, or a probe.
 */
export const numberOfOwn = (payload: string, sender: string): number | undefined => {
  const head = `{"v":${VERSION},"s":${JSON.stringify(sender)},"n":`
  if (!payload.startsWith(head)) return undefined
  const number = Number.parseInt(payload.slice(head.length, head.length + 16), 10)
  return Number.isSafeInteger(number) ? number : undefined
}

/** What a payload says, or why it cannot be understood. */
export const decode = (payload: string): Message | { readonly problem: string } => {
  try {
    const json: unknown = JSON.parse(payload)
    if (!isRecord(json)) return refuse("an object")
    if (json.v !== VERSION)
      return { problem: `is of version ${JSON.stringify(json.v)}, and this program reads version ${VERSION}` }
    return {
      changes: json.t === 0 ? "all" : Array.isArray(json.t) ? json.t.map(changeOf) : refuse("its tables"),
      stamp: stampOf(json),
      probe: isCount(json.p) ? json.p : undefined,
      at: isCount(json.at) ? json.at : undefined
    }
  } catch (error) {
    return {
      problem: error instanceof Unreadable ? `has no ${error.message} where one should be` : "is no JSON"
    }
  }
}
