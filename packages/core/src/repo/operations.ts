/** What the Repo's functions do, for one database. */
import { SqlError, Statement } from "@effect/sql"
import { Effect, Exit, Function, Option, Stream } from "effect"
import { type Aggregate, aggregate } from "./aggregate.js"
import { announced } from "./announcing.js"
import type { Associations } from "./association.js"
import { Batching } from "./batching.js"
import { type Bulk, deleteAll, insertAll, updateAll } from "./bulk.js"
import { chained, type Middleware, operationOf } from "./chain.js"
import { quoted } from "./columnnames.js"
import { type Asked, asked, equalities, misfitIn } from "./condition.js"
import type { Answer } from "./connection.js"
import type { Database } from "./database.js"
import type { Call } from "./delta.js"
import { frameOf } from "./frame.js"
import { choosing, type Hooks, hooksOf, noteChange, throughAfter, throughBefore, together } from "./hookrun.js"
import type { Conflict } from "./onconflict.js"
import { type Asking, page } from "./paging.js"
import { preload, type Reading } from "./preload.js"
import {
  type InvalidInput,
  type LockTimeout,
  MultipleResults,
  NotFound,
  type StatementError,
  TransactionClosed
} from "./RepoError.js"
import { decodeRows, reload } from "./reload.js"
import type { Service } from "./repository.js"
import { isRow, keyOf, notFound } from "./rowkey.js"
import { bounded, type CountOptions, lockText, type ReadOptions, seesDeleted } from "./rowlock.js"
import { spanned, spannedCall } from "./span.js"
import { statementError } from "./sqlstate.js"
import { stream } from "./streaming.js"
import type { Any, Operation } from "./Table.js"
import { implementationOf, type TableImplementation } from "./tableimplementation.js"
import type { Reads } from "./tableplan.js"
import { transactFor, transactOn } from "./transact.js"
import { commitError, type writeError } from "./violation.js"
import { decoded, fieldsGiven, Skipped, Writing } from "./writing.js"

/** What an effect inside of a session failed with, told apart from what the session itself fails with. */
class FromSession<E> {
  constructor(readonly error: E) {}
}

/** What a read can fail with. */
type ReadFailure = StatementError | LockTimeout | InvalidInput

const one = (table: TableImplementation, key: unknown, row: object | undefined) =>
  row === undefined ? Effect.fail(notFound(table, key)) : Effect.succeed(row)

/** Rows that are not deleted, or all of them. */
const readsOf = (table: TableImplementation, options: CountOptions | undefined): Reads =>
  options?.withDeleted === true ? table.plan.withDeleted : table.plan

/** The same where there are no other options. */
const countsOf = (table: TableImplementation, options: CountOptions | undefined): Reads =>
  seesDeleted(table.name, options) ? table.plan.withDeleted : table.plan

/** A fragment may end in an order and a limit of its own: then it is the rows it gives that are counted. */
const countText = (table: TableImplementation, reads: Reads, condition: unknown, where: Asked): string =>
  Statement.isFragment(condition)
    ? `select count(*) as "count" from (${reads.rowsText}${where.text}) as ${quoted(table.name)}`
    : `select count(*) as "count" from ${reads.fromText}${where.text}`

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
  const batching = new Batching(database)

  const read = (
    table: TableImplementation,
    text: string,
    parameters: ReadonlyArray<unknown>,
    prepared: boolean
  ): Effect.Effect<ReadonlyArray<object>, StatementError> =>
    answered(table, database.query(text, parameters, table.plan.source, prepared, true))

  const answered = (
    table: TableImplementation,
    answer: Effect.Effect<Answer, SqlError.SqlError>
  ): Effect.Effect<ReadonlyArray<object>, StatementError> =>
    Effect.matchEffect(answer, {
      onFailure: (error) => Effect.fail(statementError(error, `read ${table.name}`)),
      onSuccess: (answer) => decoded(table, answer)
    })

  /** Rows, after their hooks. */
  const hooked = <E>(
    table: TableImplementation,
    rows: Effect.Effect<ReadonlyArray<object>, E>,
    call: string,
    source: unknown,
    about: { readonly options?: object | undefined; readonly record?: unknown }
  ): Effect.Effect<ReadonlyArray<object>, E> => {
    const hooks = hooksOf(table, "get")
    if (hooks === undefined) return rows
    return Effect.flatMap(rows, (read) => {
      if (read.length === 0) return Effect.succeed(read)
      const { options, record } = about
      const queryable = record === undefined ? source : undefined
      const told = { table, operation: "get" as const, call, source, queryable, options, record }
      return choosing(
        hooks,
        // Sound: afterGet gives rows.
        (chosen) =>
          Effect.withFiberRuntime(
            (fiber) =>
              throughAfter(fiber, service, chosen, read, undefined, told) as Effect.Effect<ReadonlyArray<object>>
          ),
        Effect.succeed(read)
      )
    })
  }

  /** A read that may lock what it reads: then there has to be a transaction to hold the locks. */
  const locking = (
    table: TableImplementation,
    text: string,
    parameters: ReadonlyArray<unknown>,
    options: ReadOptions | undefined,
    prepared: boolean,
    /** What is to stand behind the lock. */
    behind = ""
  ): Effect.Effect<ReadonlyArray<object>, StatementError | LockTimeout> => {
    const lock = lockText(table.name, options)
    if (lock === undefined) return read(table, `${text}${behind}`, parameters, prepared)
    return Effect.withFiberRuntime((fiber) => {
      const frame = frameOf(fiber.currentContext, database.client)
      return frame?.isOpen === true
        ? bounded(
            database,
            options?.wait,
            `rows of ${table.name}`,
            read(table, `${text}${lock}${behind}`, parameters, prepared)
          )
        : Effect.fail(
            new TransactionClosed({
              operation: `lock rows of ${table.name}`,
              reason: frame === undefined ? "none" : "ended"
            })
          )
    })
  }

  /** No row can match, whatever there is; an option that does not exist is refused all the same. */
  const nothing = (table: TableImplementation, options: ReadOptions | undefined) => {
    lockText(table.name, options)
    return Effect.succeed<ReadonlyArray<object>>([])
  }

  const byKey = (table: TableImplementation, key: unknown, call: string, options?: ReadOptions) => {
    const onSuccess = (encoded: ReadonlyArray<unknown>) =>
      associated(table, hooked(table, atKey(table, encoded, options), call, key, { options }), options)
    const encoded = table.plan.encodeKey(key)
    // Nearly all are encoded at once. Sound: what an effect that is over gave is what it was to give.
    if (Exit.isExit(encoded) && Exit.isSuccess(encoded)) return onSuccess(encoded.value as ReadonlyArray<unknown>)
    return Effect.matchEffect(encoded, {
      onFailure: (invalid): Effect.Effect<ReadonlyArray<object>, InvalidInput> =>
        options?.strict === true ? Effect.fail(invalid) : nothing(table, options),
      onSuccess
    })
  }

  /** The row of a key: alone, or with those of others who ask at the same time. */
  const atKey = (
    table: TableImplementation,
    key: ReadonlyArray<unknown>,
    options: ReadOptions | undefined
  ): Effect.Effect<ReadonlyArray<object>, StatementError | LockTimeout> =>
    Effect.withFiberRuntime((fiber) => {
      const reads = readsOf(table, options)
      return batching.takes(fiber, table, key) && lockText(table.name, options) === undefined
        ? batching.get(fiber, table, reads, key[0], () => read(table, reads.getText, key, true))
        : locking(table, reads.getText, key, options, true)
    })

  /** Rows with what is to be loaded with them. Their own hooks have run already. */
  const associated = <E>(
    table: TableImplementation,
    rows: Effect.Effect<ReadonlyArray<object>, E>,
    options: ReadOptions | undefined
  ): Effect.Effect<ReadonlyArray<object>, E | StatementError> => {
    const wanted = options?.preload
    return wanted === undefined
      ? rows
      : Effect.flatMap(rows, (found) =>
          preload(
            {
              find: reading.find,
              hook: (target, some) => (some === found ? Effect.succeed(some) : reading.hook(target, some))
            },
            table,
            found,
            wanted
          )
        )
  }

  const byCondition = (
    table: TableImplementation,
    condition: unknown,
    call: string,
    options: ReadOptions | undefined,
    limit: string
  ): Effect.Effect<ReadonlyArray<object>, ReadFailure> =>
    Effect.flatMap(
      asked(database.client, table, condition),
      (where): Effect.Effect<ReadonlyArray<object>, ReadFailure> => {
        if (where === undefined) {
          const misfit = options?.strict === true ? misfitIn(table, condition) : undefined
          return misfit === undefined ? nothing(table, options) : Effect.fail(misfit)
        }
        const isFragment = Statement.isFragment(condition)
        const text = `${readsOf(table, options).selectText}${where.text}`
        // A fragment may end in an order and a limit of its own.
        const isInner = isFragment && limit !== ""
        const rows = isInner
          ? locking(
              table,
              `select * from (${text}`,
              where.parameters,
              options,
              false,
              `) as ${quoted(table.name)}${limit}`
            )
          : locking(table, text, where.parameters, options, !isFragment, limit)
        return associated(table, hooked(table, rows, call, condition ?? table, { options }), options)
      }
    )

  const fieldsOf = (condition: unknown): ReadonlyArray<string> =>
    typeof condition === "object" && condition !== null && !Statement.isFragment(condition)
      ? Object.keys(condition)
      : ["condition"]

  /** At most one row. */
  const single = (table: TableImplementation, condition: unknown, call: string, options: ReadOptions | undefined) =>
    Effect.flatMap(byCondition(table, condition, call, options, " limit 2"), (rows) =>
      rows.length > 1
        ? Effect.fail(new MultipleResults({ table: table.name, fields: fieldsOf(condition) }))
        : Effect.succeed(Option.fromNullable(rows[0]))
    )

  /** A write between its hooks, in one transaction; without hooks it is only the write. */
  const withHooks = <E>(
    table: TableImplementation,
    operation: Exclude<Operation, "get">,
    verb: string,
    input: unknown,
    source: unknown,
    statement: (input: unknown) => Effect.Effect<object, E>,
    /** Whether it may come to nothing, and the hooks with it, without having failed. */
    mayBeSkipped = false
  ): Effect.Effect<object, E | ReturnType<typeof writeError>> => {
    const hooks = hooksOf(table, operation)
    if (hooks === undefined) return statement(input)
    const given = operation !== "insert" && isRow(table, source) ? source : undefined
    const hooked = (chosen: Hooks) => {
      let about: Call = { table, operation, call: operation, source, record: given, old: given }
      // Sound: what is written is an object of fields.
      const changesetOf = (prepared: unknown) => (operation === "delete" ? undefined : (prepared as object))
      return together<object, E | StatementError, ReturnType<typeof writeError>>(
        database,
        mayBeSkipped ? { ...chosen, savepoint: true } : chosen,
        {
          before: (fiber) =>
            chosen.loadsOld
              ? Effect.flatMap(oldOf(table, source), (old) => {
                  about = { ...about, old }
                  return throughBefore(fiber, service, chosen, input, about)
                })
              : throughBefore(fiber, service, chosen, input, about),
          statement,
          after: (fiber, row, prepared) => {
            const changeset = changesetOf(prepared)
            if (chosen.commit.length > 0) noteChange(fiber, database, service, chosen, row, changeset, about)
            // Sound: hooks after a write give a row.
            return throughAfter(fiber, service, chosen, row, changeset, about) as Effect.Effect<object>
          }
        },
        (failure) => commitError(table, verb, failure)
      )
    }
    return choosing(hooks, hooked, statement(input))
  }

  /** A write of many rows between the hooks that are about such, in one transaction. */
  const manyWithHooks = <E>(
    table: TableImplementation,
    call: "insertAll" | "updateAll" | "deleteAll",
    input: unknown,
    about: { readonly source: unknown; readonly queryable?: unknown; readonly record?: unknown },
    options: Bulk | undefined,
    statement: (input: unknown, options: Bulk | undefined) => Effect.Effect<ReadonlyArray<object> | number, E>
  ): Effect.Effect<ReadonlyArray<object> | number, E | ReturnType<typeof writeError>> => {
    const hooks = hooksOf(table, call)
    if (hooks === undefined) return statement(input, options)
    const operation = operationOf(call)
    const told = { ...about, table, operation, call, options }
    const verb = operation === "insert" ? "insert into" : operation === "update" ? "update" : "delete from"
    const hooked = (chosen: Hooks) => {
      const needsRows = chosen.after.length + chosen.commit.length > 0
      return together<ReadonlyArray<object> | number, E, ReturnType<typeof writeError>>(
        database,
        chosen,
        {
          before: (fiber) => throughBefore(fiber, service, chosen, input, told),
          statement: (prepared) => statement(prepared, needsRows ? { ...options, returning: true } : options),
          after: (fiber, rows, prepared) => {
            // It was asked to give them.
            if (typeof rows === "number") return Effect.succeed(rows)
            // Sound: what is changed is an object of fields.
            const changeset = call === "updateAll" ? (prepared as object) : undefined
            if (chosen.commit.length > 0)
              for (const row of rows) noteChange(fiber, database, service, chosen, row, changeset, told)
            // Sound: hooks after a write of many rows give rows.
            const after = throughAfter(fiber, service, chosen, rows, changeset, told) as Effect.Effect<
              ReadonlyArray<object>
            >
            return Effect.map(after, (all) => (options?.returning === true ? all : rows.length))
          }
        },
        (failure) => commitError(table, verb, failure)
      )
    }
    return choosing(hooks, hooked, statement(input, options))
  }

  /** The row as it is before it is changed, locked so that it stays so. */
  const oldOf = (table: TableImplementation, target: unknown): Effect.Effect<object | undefined, StatementError> =>
    Effect.matchEffect(table.plan.encodeKey(keyOf(table, target)), {
      onFailure: () => Effect.succeed(undefined),
      onSuccess: (encoded) =>
        Effect.map(read(table, `${table.plan.getText} for no key update`, encoded, true), (rows) => rows[0])
    })

  const reading: Reading = {
    find: (table, field, values) => {
      const given = { [field]: values }
      return Effect.flatMap(
        equalities(table, given),
        (where) =>
          where === undefined
            ? Effect.succeed([])
            : around("preload", table, [given], (narrowed, condition) => {
                // Sound: the table, or the same one narrowed.
                const self = implementationOf(narrowed as Any)
                const from = (chosen: Asked | undefined) =>
                  chosen === undefined
                    ? Effect.succeed([])
                    : read(
                        self,
                        `${self.plan.selectText}${chosen.text}`,
                        chosen.parameters,
                        !Statement.isFragment(condition)
                      )
                // Unless a middleware gave another one.
                const found =
                  condition === given ? from(where) : Effect.flatMap(asked(database.client, self, condition), from)
                // Sound: what fails here is in the type of the preload.
                return found as Effect.Effect<unknown>
              })
        // Sound: rows, whatever middleware stands around.
      ) as Effect.Effect<ReadonlyArray<object>>
    },
    hook: (table, rows) => hooked(table, Effect.succeed(rows), "preload", rows, { record: rows })
  }

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
        ? preload(reading, self, rows, associations)
        : Effect.map(preload(reading, self, [rows], associations), ([row]) => row)
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
    stream: (table: Any, condition?: unknown, options?: CountOptions) => {
      const self = implementationOf(table)
      return Effect.succeed(
        stream(database, self, countsOf(self, options), condition, (rows) =>
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
      return conflict?.action === "nothing"
        ? Effect.catchIf(
            Effect.map(inserted, Option.some),
            (error) => error instanceof Skipped,
            () => Effect.succeed(Option.none())
          )
        : inserted
    },

    update: (table: Any, target: unknown, patch: unknown) => {
      const self = implementationOf(table)
      if (self.plan.isEmpty(fieldsGiven(self, "update of", patch))) return writing.update(self, target, patch)
      return withHooks(self, "update", "update", patch, target, (prepared) => writing.update(self, target, prepared))
    },

    delete: (table: Any, target: unknown) => {
      const self = implementationOf(table)
      const key = keyOf(self, target)
      return withHooks(self, "delete", "delete from", key, target, () => writing.delete(self, target))
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

    insertAll: (table: Any, rows: ReadonlyArray<unknown>, options?: Bulk) => {
      const self = implementationOf(table)
      return manyWithHooks(self, "insertAll", rows, { source: rows, record: rows }, options, (prepared, chosen) =>
        // Sound: hooks before it give rows.
        insertAll(database, writing, self, prepared as ReadonlyArray<unknown>, chosen)
      )
    },

    updateAll: (table: Any, condition: unknown, patch: unknown, options?: Bulk) => {
      const self = implementationOf(table)
      const about = { source: condition, queryable: condition }
      return manyWithHooks(self, "updateAll", patch, about, options, (prepared, chosen) =>
        updateAll(database, writing, self, condition, prepared, chosen)
      )
    },

    deleteAll: (table: Any, condition: unknown, options?: Bulk) => {
      const self = implementationOf(table)
      const about = { source: condition, queryable: condition }
      return manyWithHooks(self, "deleteAll", condition, about, options, (_, chosen) =>
        deleteAll(database, writing, self, condition, chosen)
      )
    },

    restore: (table: Any, target: unknown) => writing.restore(implementationOf(table), target),

    touch: (table: Any, keys?: ReadonlyArray<unknown>) => {
      const self = implementationOf(table)
      const touched = keys ?? "all"
      return announced(database, self, touched, () => touched, Function.identity, Effect.void)
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
  /** Inside of the middleware, if there is any. */
  const around = (
    name: string,
    table: Any,
    rest: ReadonlyArray<unknown>,
    call: (...all: ReadonlyArray<unknown>) => Effect.Effect<unknown>
  ): Effect.Effect<unknown> =>
    middlewares.length === 0
      ? call(table, ...rest)
      : chained(middlewares, table, name, rest, (narrowed, args) => call(narrowed, ...args))
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
