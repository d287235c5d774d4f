/** Which rows a transaction has changed, and who is told when it has been committed. */
import type { SqlClient } from "@effect/sql"
import { Effect } from "effect"
import type { Outcome } from "./frame.js"
import { isControl } from "./statementkind.js"

/**
 * What was changed in one table. `keys` are those of the rows, as the model has them, or `"all"` where it is not known which rows they were, or where they
 * were more than a thousand.
 *
 * @since 0.1.0
 * @category models
 */
export interface Change {
  /** The database's schema, when the table names one. */
  readonly schema: string | undefined
  readonly table: string
  readonly keys: ReadonlyArray<unknown> | "all"
}

/**
 * Changes that others can see from now on: `"committed"`, or `"unknown"` when the connection was lost in between, so that they may or may not have been.
 *
 * @since 0.1.0
 * @category models
 */
export interface Announcement {
  readonly outcome: "committed" | "unknown"
  readonly changes: ReadonlyArray<Change>
}

/** What changes are about. */
export interface Changed {
  readonly schema: string | undefined
  readonly name: string
}

/** Beyond this many keys of one table a transaction only remembers that it changed the table. */
const maximalKeys = 1000

/** For `JSON.stringify`: the fields of a key in one order, whatever the order they were written in, and bytes by what they are. */
function inOrder(this: unknown, name: string, value: unknown): unknown {
  // As it was before its toJSON: a Buffer has one, and other bytes have none.
  const original = (this as Readonly<Record<string, unknown>>)[name]
  if (original instanceof Uint8Array) return original.join()
  if (typeof value === "bigint") return `${value}n`
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)))
}

/** Keys that are stored alike are one key: dates, bigints and keys of several fields are different objects each time. */
export const identity = (key: unknown): unknown =>
  typeof key === "object" && key !== null ? JSON.stringify(key, inOrder) : key

const nameOf = (schema: string | undefined, table: string): string =>
  schema === undefined ? table : `${schema}.${table}`

interface Entry {
  readonly schema: string | undefined
  readonly table: string
  keys: Map<unknown, unknown> | "all"
}

/** What one frame of a transaction has changed. Never without bound. */
export class Changes {
  private readonly tables = new Map<string, Entry>()

  get isEmpty(): boolean {
    return this.tables.size === 0
  }

  add(table: Changed, keys: Iterable<unknown> | "all"): void {
    this.into(table.schema, table.name, keys)
  }

  /** Takes over what a savepoint changed. */
  addAll(other: Changes): void {
    for (const { keys, schema, table } of other.tables.values())
      this.into(schema, table, keys === "all" ? keys : keys.values())
  }

  /**
   * Whether this row of the table was changed; without a key, whether any was. A table that names no schema may be the one of any schema.
   */
  has({ name, schema }: Changed, key?: unknown): boolean {
    for (const entry of this.tables.values()) {
      if (entry.table !== name) continue
      if (schema !== undefined && entry.schema !== undefined && entry.schema !== schema) continue
      if (key === undefined || entry.keys === "all" || entry.keys.has(identity(key))) return true
    }
    return false
  }

  list(): ReadonlyArray<Change> {
    return [...this.tables.values()].map(({ keys, schema, table }) => ({
      schema,
      table,
      keys: keys === "all" ? keys : [...keys.values()]
    }))
  }

  private into(schema: string | undefined, table: string, given: Iterable<unknown> | "all"): void {
    const keys: ReadonlyArray<unknown> | "all" = given === "all" ? "all" : [...given]
    if (keys.length === 0) return
    const name = nameOf(schema, table)
    let entry = this.tables.get(name)
    if (entry === undefined) {
      entry = { schema, table, keys: new Map() }
      this.tables.set(name, entry)
    }
    if (entry.keys === "all") return
    if (keys !== "all") for (const key of keys) entry.keys.set(identity(key), key)
    if (keys === "all" || entry.keys.size > maximalKeys) entry.keys = "all"
  }
}

/**
 * Told of changes. It runs synchronously, in the fiber that committed and before that goes on, so whoever sees the result of a write sees what its listeners
 * did too. What it throws is logged.
 *
 * @since 0.1.0
 * @category models
 */
export type Listener = (announcement: Announcement) => void

/**
 * Has a function called when the transaction is over, and nothing later: synchronously, with what became of it. It must not throw.
 *
 * @since 0.1.0
 * @category models
 */
export type OnEnd = (listener: (outcome: Outcome) => void) => void

/**
 * A statement that is sent together with a COMMIT. Its rows nobody reads.
 *
 * @since 0.1.0
 * @category models
 */
export interface CommitStatement {
  readonly text: string
  readonly parameters: ReadonlyArray<string>
}

/**
 * Makes a statement that is sent together with the COMMIT of a transaction that has changed something: synchronously, and it must not throw. The statement
 * must not wait for long, for a COMMIT is not interrupted and has no limit but PostgreSQL's own; one that begins or ends a transaction is refused.
 *
 * @since 0.1.0
 * @category models
 */
export type WithCommit = (changes: ReadonlyArray<Change>, onEnd: OnEnd) => CommitStatement

/** Runs inside of a transaction that has changes, right before its COMMIT; its failure rolls the transaction back. */
export type BeforeCommit = (changes: ReadonlyArray<Change>, onEnd: OnEnd) => Effect.Effect<void, unknown>

/**
 * Told of a write before its statement is sent; `keys` are `"all"` where they are not known yet. What it answers is called once when the write's end can be
 * seen by all, whatever that end was: after the transaction's listeners, or at once where there is none.
 *
 * @since 0.1.0
 * @category models
 */
export type Guard = (change: Change) => () => void

/** Who is told of the changes of one database. */
export class Announcer {
  private readonly listeners = new Set<Listener>()
  private readonly beforeCommits = new Set<BeforeCommit>()
  private readonly withCommits = new Set<WithCommit>()
  private readonly guards = new Set<Guard>()
  private readonly renewals = new Set<() => void>()

  constructor(private reaches: SqlClient.SqlClient) {}

  /** A handle leaves this as it is: it outlives the Repo that it came with. */
  get [Symbol.toStringTag](): string {
    return "Announcer"
  }

  /** The client that reaches the database now. */
  get client(): SqlClient.SqlClient {
    return this.reaches
  }

  /** The Repo, or its client, was started anew: what is remembered of its database may be that of another one. */
  renew(client: SqlClient.SqlClient): void {
    this.reaches = client
    for (const run of [...this.renewals]) run()
  }

  /** Has a function called at each renewal; it must not throw. Gives back how to end it. */
  onRenewal(run: () => void): () => void {
    const own = () => run()
    this.renewals.add(own)
    return () => this.renewals.delete(own)
  }

  /** Whether anybody wants to know. */
  get isHeard(): boolean {
    return this.listeners.size > 0 || this.beforeCommits.size > 0 || this.withCommits.size > 0 || this.guards.size > 0
  }

  /** Whether even a single statement needs a transaction, because something is to be done in it. */
  get needsTransaction(): boolean {
    return this.beforeCommits.size > 0
  }

  /** Whether statements are to be sent with what is committed. */
  get accompanies(): boolean {
    return this.withCommits.size > 0
  }

  /** Gives back how to end it. The same function may be added twice. */
  listen(listener: Listener): () => void {
    const own: Listener = (announcement) => listener(announcement)
    this.listeners.add(own)
    return () => this.listeners.delete(own)
  }

  guard(guard: Guard): () => void {
    const own: Guard = (change) => guard(change)
    this.guards.add(own)
    return () => this.guards.delete(own)
  }

  get isGuarded(): boolean {
    return this.guards.size > 0
  }

  /** A write is about to begin. The answer says that it is over. */
  begin({ name, schema }: Changed, keys: Iterable<unknown> | "all"): () => void {
    const change: Change = { schema, table: name, keys: keys === "all" ? "all" : [...keys] }
    const ends = Array.from(this.guards, (guard) => guard(change))
    return () => {
      for (const end of ends.splice(0)) end()
    }
  }

  join(beforeCommit: BeforeCommit): () => void {
    const own: BeforeCommit = (changes, onEnd) => beforeCommit(changes, onEnd)
    this.beforeCommits.add(own)
    return () => this.beforeCommits.delete(own)
  }

  /** What is to run before a COMMIT, if anything is. */
  beforeCommit(changes: Changes, onEnd: OnEnd): Effect.Effect<void, unknown> | undefined {
    if (this.beforeCommits.size === 0 || changes.isEmpty) return undefined
    const list = changes.list()
    return Effect.forEach([...this.beforeCommits], (run) => run(list, onEnd), { discard: true })
  }

  accompany(withCommit: WithCommit): () => void {
    const own: WithCommit = (changes, onEnd) => withCommit(changes, onEnd)
    this.withCommits.add(own)
    return () => this.withCommits.delete(own)
  }

  /** What is to be sent together with the COMMIT of these changes. */
  commitStatements(changes: Changes, onEnd: OnEnd): ReadonlyArray<CommitStatement> {
    if (this.withCommits.size === 0 || changes.isEmpty) return []
    const list = changes.list()
    return Array.from(this.withCommits, (make) => {
      const statement = make(list, onEnd)
      const { text } = statement
      // It would be believed that what it goes with was committed.
      if (isControl(text)) throw new Error(`what was to be sent with a commit begins or ends a transaction: ${text}`)
      return statement
    })
  }

  /** Tells of what a transaction changed. Synchronous but for the log of what went wrong. */
  announceAll(outcome: Announcement["outcome"], changes: Changes): Effect.Effect<void> {
    return this.listeners.size === 0 || changes.isEmpty
      ? Effect.void
      : this.announce({ outcome, changes: changes.list() })
  }

  /** Tells of one statement that was committed by itself. */
  announceOne(outcome: Announcement["outcome"], table: Changed, keys: Iterable<unknown> | "all"): Effect.Effect<void> {
    if (this.listeners.size === 0) return Effect.void
    const changes = new Changes()
    changes.add(table, keys)
    return changes.isEmpty ? Effect.void : this.announce({ outcome, changes: changes.list() })
  }

  private announce(announcement: Announcement): Effect.Effect<void> {
    return Effect.suspend(() => {
      const problems: Array<unknown> = []
      for (const listener of [...this.listeners])
        try {
          listener(announcement)
        } catch (problem) {
          problems.push(problem)
        }
      return problems.length === 0
        ? Effect.void
        : Effect.logError("a listener of committed changes threw; the changes are not changed by it", ...problems)
    })
  }
}
