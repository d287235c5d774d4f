/** What the Repo's functions do, for one database. */
import { SqlError, Statement } from "@effect/sql"
import { Effect, Function, Option, Stream } from "effect"
import { type Aggregate, aggregate } from "./aggregate.js"
import { announced, before } from "./announcing.js"
import type { Associations } from "./association.js"
import { type Bulk, deleteAll, insertAll, updateAll } from "./bulk.js"
import { chained, type Middleware } from "./chain.js"
import { quoted } from "./columnnames.js"
import { type Asked, asked } from "./condition.js"
import type { Database } from "./database.js"
import { hookedWrites } from "./hookedwrites.js"
import type { Conflict } from "./onconflict.js"
import { type Asking, page } from "./paging.js"
import { preload } from "./preload.js"
import { NotFound, StaleRow } from "./RepoError.js"
import { type AroundCall, fieldsOf, readingOf, readsOf } from "./reading.js"
import { decodeRows, reload } from "./reload.js"
import type { BulkOptions, ChangeOptions, InsertAllOptions, InsertOptions, Service } from "./repository.js"
import { keyOf, notFound } from "./rowkey.js"
import { type CountOptions, chunkSizeOf, type ReadOptions, type StreamOptions, seesDeleted } from "./rowlock.js"
import { spanned, spannedCall } from "./span.js"
import { statementError } from "./sqlstate.js"
import { stream } from "./streaming.js"
import type { Any } from "./Table.js"
import { implementationOf, type TableImplementation } from "./tableimplementation.js"
import type { Reads } from "./tableplan.js"
import { transactFor, transactOn } from "./transact.js"
import { commitError } from "./violation.js"
import { onlyKnown } from "./word.js"
import { fieldsGiven, Skipped, Writing } from "./writing.js"

/** What an effect inside of a session failed with, told apart from what the session itself fails with. */
class FromSession<E> {
  constructor(readonly error: E) {}
}

const one = (table: TableImplementation, key: unknown, row: object | undefined) =>
  row === undefined ? Effect.fail(notFound(table, key)) : Effect.succeed(row)

/** The same where there are no other options. */
const countsOf = (table: TableImplementation, options: CountOptions | undefined): Reads =>
  seesDeleted(table.name, options) ? table.plan.withDeleted : table.plan

/** A fragment may end in an order and a limit of its own: then it is the rows it gives that are counted. */
const countText = (table: TableImplementation, reads: Reads, condition: unknown, where: Asked): string =>
  Statement.isFragment(condition)
    ? `select count(*) as "count" from (${reads.rowsText}${where.text}) as ${quoted(table.name)}`
    : `select count(*) as "count" from ${reads.fromText}${where.text}`

/** None where a write has come to nothing, which is no failure. */
const unlessSkipped = <E>(self: Effect.Effect<object, E>) =>
  Effect.catchIf(
    Effect.asSome(self),
    (error): error is Extract<E, Skipped> => error instanceof Skipped,
    () => Effect.succeed(Option.none<object>())
  )

/** Throws for an option that there is not. */
const allowsStale = (table: TableImplementation, options: ChangeOptions | undefined): boolean => {
  if (options === undefined) return false
  onlyKnown(`changing ${table.name}`, options, changeNames)
  return options.allowStale === true
}

const changeNames: ReadonlySet<string> = new Set<keyof ChangeOptions>(["allowStale"])
const insertNames: ReadonlySet<string> = new Set<keyof InsertOptions<Any>>(["onConflict"])
const insertAllNames: ReadonlySet<string> = new Set<keyof InsertAllOptions<Any>>(["onConflict", "returning"])
const bulkNames: ReadonlySet<string> = new Set<keyof BulkOptions>(["returning"])

/** A write whose row may be gone or changed: what its statement finds, and not what its hooks do. */
const perhaps = <E>(
  write: (
    skipping: <F>(statement: Effect.Effect<object, F>) => Effect.Effect<object, F | Skipped>
  ) => Effect.Effect<object, E>
) =>
  unlessSkipped(
    write((statement) =>
      Effect.mapError(statement, (error) =>
        error instanceof NotFound || error instanceof StaleRow ? new Skipped() : error
      )
    )
  )

/** What a Repo was made of. */
interface Built {
  readonly database: Database
  readonly middlewares: ReadonlyArray<Middleware>
}

const built = new WeakMap<Service, Built>()

export const builtWith = (service: Service): Built => {
  const found = built.get(service)
  if (found === undefined)
    throw new Error("middleware goes around a Repo of Repo.layer: this one was put together by hand")
  return found
}

/** The Repo of a database. */
export const make = (database: Database, middlewares: ReadonlyArray<Middleware> = []): Service => {
  const writing = new Writing(database)

  /** Inside of the middleware, if there is any. */
  const around: AroundCall = (name, table, rest, call) =>
    middlewares.length === 0
      ? call(table, ...rest)
      : chained(middlewares, table, name, rest, (narrowed, args) => call(narrowed, ...args))
  const reading = readingOf(database, () => service, around)
  const { byCondition, byKey, hooked, read, single } = reading
  const { manyWithHooks, withHooks } = hookedWrites(database, () => service, read)

  const operations = {
    get: (table: Any, key: unknown, options?: ReadOptions) =>
      Effect.map(byKey(implementationOf(table), key, "get", options), (rows) => Option.fromNullable(rows[0])),

    fetch: (table: Any, key: unknown, options?: ReadOptions) => {
      const self = implementationOf(table)
      return Effect.flatMap(byKey(self, key, "fetch", options), (rows) => one(self, key, rows[0]))
    },

    getBy: (table: Any, where: unknown, options?: ReadOptions) =>
      single(implementationOf(table), where, "getBy", options),

    fetchBy: (table: Any, where: unknown, options?: ReadOptions) => {
      const self = implementationOf(table)
      return Effect.flatMap(
        single(self, where, "fetchBy", options),
        Option.match({
          onNone: () => Effect.fail(new NotFound({ table: self.name, fields: fieldsOf(where), by: where })),
          onSome: Effect.succeed
        })
      )
    },

    one: (table: Any, condition: unknown, options?: ReadOptions) =>
      single(implementationOf(table), condition, "one", options),

    all: (table: Any, condition?: unknown, options?: ReadOptions) =>
      byCondition(implementationOf(table), condition, "all", options, ""),

    preload: (table: Any, rows: object | ReadonlyArray<object>, associations: Associations) => {
      const self = implementationOf(table)
      return Array.isArray(rows)
        ? preload(reading.forPreload, self, rows, associations)
        : Effect.map(preload(reading.forPreload, self, [rows], associations), ([row]) => row)
    },

    reload: (table: Any, rows: object | ReadonlyArray<object>) => {
      const self = implementationOf(table)
      const list: ReadonlyArray<object> = Array.isArray(rows) ? rows : [rows]
      const found = reload(
        self,
        list,
        (where) => read(self, `${self.plan.selectText}${where.text}`, where.parameters, typeof self.key === "string"),
        (loaded) => hooked(self, Effect.succeed(loaded), "reload", rows, { record: rows })
      )
      return Array.isArray(rows) ? found : Effect.map(found, ([row]) => row)
    },

    decode: (table: Any, rows: Effect.Effect<ReadonlyArray<unknown>, unknown> | ReadonlyArray<unknown>) => {
      const self = implementationOf(table)
      return Effect.isEffect(rows)
        ? Effect.flatMap(
            Effect.mapError(rows, (error) =>
              error instanceof SqlError.SqlError ? statementError(error, `read ${self.name}`) : error
            ),
            (found) => decodeRows(self, found)
          )
        : decodeRows(self, rows)
    },

    page: (table: Any, options: Asking) => {
      const self = implementationOf(table)
      const reads = readsOf(self, options)
      const count = operations.count(self, options.where, { withDeleted: options.withDeleted })
      return page(database, self, reads, options, count, (rows) =>
        hooked(self, Effect.succeed(rows), "page", options.where ?? table, { options })
      )
    },

    aggregate: (table: Any, word: Aggregate, field: string, condition?: unknown, options?: CountOptions) => {
      const self = implementationOf(table)
      return aggregate(database, self, countsOf(self, options), word, field, condition)
    },

    /** The effect that gives the stream: what stands around it is done when it begins. */
    stream: (table: Any, condition?: unknown, options?: StreamOptions) => {
      const self = implementationOf(table)
      const chunkSize = chunkSizeOf(self.name, options)
      return Effect.succeed(
        stream(database, self, readsOf(self, options), condition, chunkSize, (rows) =>
          hooked(self, Effect.succeed(rows), "stream", condition ?? table, { options })
        )
      )
    },

    exists: (table: Any, condition?: unknown, options?: CountOptions) => {
      const self = implementationOf(table)
      return Effect.flatMap(asked(database.client, self, condition), (where) =>
        where === undefined
          ? Effect.succeed(false)
          : Effect.mapBoth(
              database.query(
                `select exists (${countsOf(self, options).rowsText}${where.text}) as "exists"`,
                where.parameters,
                self.plan.source
              ),
              {
                onFailure: (error) => statementError(error, `read ${self.name}`),
                onSuccess: (answer) => answer.rows[0]?.exists === true
              }
            )
      )
    },

    count: (table: Any, condition?: unknown, options?: CountOptions) => {
      const self = implementationOf(table)
      return Effect.flatMap(asked(database.client, self, condition), (where) =>
        where === undefined
          ? Effect.succeed(0)
          : Effect.mapBoth(
              database.query(
                countText(self, countsOf(self, options), condition, where),
                where.parameters,
                self.plan.source
              ),
              {
                onFailure: (error) => statementError(error, `count ${self.name}`),
                onSuccess: (answer) => Number(answer.rows[0]?.count)
              }
            )
      )
    },

    insert: (table: Any, row: unknown, options?: { readonly onConflict?: Conflict }) => {
      const self = implementationOf(table)
      fieldsGiven(self, "insert into", row)
      if (options !== undefined) onlyKnown(`inserting into ${self.name}`, options, insertNames)
      const conflict = options?.onConflict
      const inserted = withHooks(
        self,
        "insert",
        "insert into",
        row,
        row,
        (prepared) => writing.insert(self, prepared, conflict),
        conflict?.action === "nothing"
      )
      return conflict?.action === "nothing" ? unlessSkipped(inserted) : inserted
    },

    update: (table: Any, target: unknown, patch: unknown, options?: ChangeOptions) => {
      const self = implementationOf(table)
      if (allowsStale(self, options))
        return perhaps((skipping) =>
          self.plan.isEmpty(fieldsGiven(self, "update of", patch))
            ? skipping(writing.update(self, target, patch))
            : withHooks(
                self,
                "update",
                "update",
                patch,
                target,
                (prepared) => skipping(writing.update(self, target, prepared)),
                true
              )
        )
      if (self.plan.isEmpty(fieldsGiven(self, "update of", patch))) return writing.update(self, target, patch)
      return withHooks(self, "update", "update", patch, target, (prepared) => writing.update(self, target, prepared))
    },

    delete: (table: Any, target: unknown, options?: ChangeOptions) => {
      const self = implementationOf(table)
      const key = keyOf(self, target)
      return allowsStale(self, options)
        ? perhaps((skipping) =>
            withHooks(self, "delete", "delete from", key, target, () => skipping(writing.delete(self, target)), true)
          )
        : withHooks(self, "delete", "delete from", key, target, () => writing.delete(self, target))
    },

    modify: (
      table: Any,
      key: unknown,
      change: (row: object) => Effect.Effect<object, unknown>,
      options?: Pick<ReadOptions, "wait">
    ) => {
      const self = implementationOf(table)
      const locked = service.fetch(self, key as never, { ...options, lock: "no key update" as const })
      // Sound: whatever it needs is in the type of the call.
      const changed = Effect.flatMap(locked as Effect.Effect<object, unknown>, (row) =>
        Effect.flatMap(
          Effect.suspend(() => change(row)),
          (patch) => service.update(self, row as never, patch as never)
        )
      )
      return transactFor(database, changed, (failure) => commitError(self, "update", failure))
    },

    insertAll: (table: Any, rows: unknown, options?: Bulk) => {
      const self = implementationOf(table)
      if (options !== undefined) onlyKnown(`inserting into ${self.name}`, options, insertAllNames)
      const about = Array.isArray(rows) ? { source: rows, record: rows } : { source: rows, queryable: rows }
      return manyWithHooks(self, "insertAll", rows, about, options, (prepared, chosen) =>
        insertAll(database, writing, self, prepared, chosen)
      )
    },

    updateAll: (table: Any, condition: unknown, patch: unknown, options?: Bulk) => {
      const self = implementationOf(table)
      if (options !== undefined) onlyKnown(`changing rows of ${self.name}`, options, bulkNames)
      const about = { source: condition, queryable: condition }
      return manyWithHooks(self, "updateAll", patch, about, options, (prepared, chosen) =>
        updateAll(database, writing, self, condition, prepared, chosen)
      )
    },

    deleteAll: (table: Any, condition: unknown, options?: Bulk) => {
      const self = implementationOf(table)
      if (options !== undefined) onlyKnown(`deleting rows of ${self.name}`, options, bulkNames)
      const about = { source: condition, queryable: condition }
      return manyWithHooks(self, "deleteAll", condition, about, options, (_, chosen) =>
        deleteAll(database, writing, self, condition, chosen)
      )
    },

    restore: (table: Any, target: unknown) => writing.restore(implementationOf(table), target),

    touch: (table: Any, keys?: ReadonlyArray<unknown>) => {
      const self = implementationOf(table)
      const touched = keys ?? "all"
      return announced(
        database,
        self,
        touched,
        () => before(touched),
        Function.identity,
        () => Effect.void
      )
    },

    transact: (self: Effect.Effect<unknown, unknown, unknown>, options = {}) =>
      spanned(transactOn(database, self, options), "Repo.transact", {})
  }
  const session = <A, E, R>(self: Effect.Effect<A, E, R>) =>
    spanned(
      Effect.mapError(database.session(Effect.mapError(self, (error) => new FromSession(error))), (error) =>
        error instanceof FromSession ? error.error : statementError(error, "take a connection")
      ),
      "Repo.session",
      {}
    )
  const { transact, ...calls } = operations
  const traced = Object.fromEntries(
    Object.entries(calls).map(([name, call]) => [
      name,
      (table: Any, ...rest: ReadonlyArray<unknown>) =>
        // What the types do not allow is a defect of the effect: a call never throws.
        spannedCall(
          // Sound: the arguments are handed on as they came.
          () => around(name, table, rest, call as (...all: ReadonlyArray<unknown>) => Effect.Effect<unknown>),
          `Repo.${name}`,
          () => ({ "db.system.name": "postgresql", "db.collection.name": table.name })
        )
    ])
  )
  // Sound: each operation does what its type in Service says. Rows, keys and hooks are unknown here because they are the table's, and their types are
  // worked out from the table's type at the call.
  const streamed = (table: Any, ...rest: ReadonlyArray<unknown>) =>
    // Sound: the call of that name gives a stream.
    Stream.unwrap(
      (traced.stream as (...all: ReadonlyArray<unknown>) => Effect.Effect<Stream.Stream<object>>)(table, ...rest)
    )
  const service = {
    ...traced,
    stream: streamed,
    session,
    transact,
    announcer: database.announcer
  } as unknown as Service
  built.set(service, { database, middlewares })
  return service
}
