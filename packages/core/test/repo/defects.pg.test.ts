/**
 * What was found to be wrong with the transactions of @effect/sql 0.52 and @effect/sql-pg 0.53, each as one probe that is run twice: on our Repo's
 * client, which has to do better, and on the plain client, to show that the probe sees the defect.
 */
import { Reactivity } from "@effect/experimental"
import { Model, SqlClient, SqlResolver } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { expect, layer } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Option, Schema, Stream, Tracer } from "effect"
import * as Notification from "../../src/repo/Notification.js"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import * as Transaction from "../../src/repo/Transaction.js"
import { EmbeddedPostgres } from "../../src/testing.js"

/** A pool of this size on the database of the tests. */
const pool = (maxConnections: number) =>
  Layer.unwrapEffect(
    Effect.map(PgClient.PgClient, ({ config }) =>
      PgClient.layer({ ...config, maxConnections, connectTimeout: "2 seconds" })
    )
  )

/** The same as ours. */
const ours = (maxConnections: number) => Layer.provideMerge(Repo.layer(), pool(maxConnections))

/** Two databases, each with a client of its own, as ours or as the plain ones. */
class Other extends Effect.Service<Other>()("Other", {
  effect: Effect.map(SqlClient.SqlClient, (sql) => ({ sql }))
}) {}

const Plain = Layer.merge(
  Layer.provideMerge(pool(4), EmbeddedPostgres),
  Other.Default.pipe(Layer.provide(Layer.fresh(EmbeddedPostgres)))
).pipe(Layer.provideMerge(Reactivity.layer))

const Ours = Layer.merge(
  Repo.layer().pipe(Layer.provideMerge(pool(4)), Layer.provideMerge(EmbeddedPostgres)),
  Other.Default.pipe(Layer.provide(Repo.layer()), Layer.provide(Layer.fresh(EmbeddedPostgres)))
).pipe(Layer.provideMerge(Reactivity.layer))

const fresh = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists notes, links`
  yield* sql`create table notes (id int primary key)`
  yield* sql`create table links (note int constraint links_note_fkey references notes deferrable initially deferred)`
  return sql
})

const ids = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  return (yield* sql<{ id: number }>`select id from notes order by id`).map((row) => row.id)
})

const insert = (id: number) => Effect.flatMap(SqlClient.SqlClient, (sql) => sql`insert into notes values (${id})`)

/** A few round trips: time enough for whatever is going to happen. */
const meanwhile = Effect.repeatN(ids, 20)

const isDefect = <A, E>(exit: Exit.Exit<A, E>) => Exit.isFailure(exit) && Cause.isDie(exit.cause)

// ------------------------------------------------------------------------------------------------------------------- the probes

const refusedCommit = Effect.gen(function* () {
  const sql = yield* fresh
  return yield* Effect.exit(sql.withTransaction(sql`insert into links values (404)`))
})

const writeSkew = Effect.gen(function* () {
  const sql = yield* fresh
  const serializable = (body: Effect.Effect<unknown, unknown, SqlClient.SqlClient>) =>
    sql.withTransaction(Effect.zipRight(sql`set transaction isolation level serializable`, body))
  const [read, written] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
  const first = yield* Effect.fork(
    serializable(
      Effect.gen(function* () {
        yield* ids
        yield* insert(1)
        yield* Deferred.succeed(read, undefined)
        yield* Deferred.await(written)
      })
    )
  )
  yield* Deferred.await(read)
  yield* serializable(Effect.zipRight(ids, insert(2)))
  yield* Deferred.succeed(written, undefined)
  return yield* Fiber.await(first)
})

const swallowedError = Effect.gen(function* () {
  const sql = yield* fresh
  const exit = yield* Effect.exit(sql.withTransaction(Effect.zipRight(insert(1), Effect.ignore(insert(1)))))
  return { exit, kept: yield* ids }
})

const concurrentSavepoints = Effect.gen(function* () {
  const sql = yield* fresh
  const survivorWrote = yield* Deferred.make<void>()
  const opened = yield* Deferred.make<void>()
  const exit = yield* Effect.exit(
    sql.withTransaction(
      Effect.all(
        [
          Effect.either(
            sql.withTransaction(
              Deferred.succeed(opened, undefined).pipe(
                // Ours lets the other one in only when this one is over; the plain client lets it in now.
                Effect.zipRight(Effect.raceFirst(Deferred.await(survivorWrote), meanwhile)),
                Effect.zipRight(Effect.fail("no"))
              )
            )
          ),
          Effect.zipRight(
            Deferred.await(opened),
            sql.withTransaction(Effect.zipRight(insert(1), Deferred.succeed(survivorWrote, undefined)))
          )
        ],
        { concurrency: 2 }
      )
    )
  )
  return { reported: Exit.isSuccess(exit), kept: yield* ids }
})

const outlivingFiber = Effect.gen(function* () {
  const sql = yield* fresh
  const go = yield* Deferred.make<void>()
  const daemon = yield* sql.withTransaction(
    Effect.forkDaemon(Effect.zipRight(Deferred.await(go), Effect.exit(insert(1))))
  )
  // A stranger's transaction, on the same connection: it was the last one to be given back.
  yield* Effect.ignore(
    sql.withTransaction(
      Deferred.succeed(go, undefined).pipe(Effect.zipRight(Fiber.join(daemon)), Effect.zipRight(Effect.fail("no")))
    )
  )
  return { exit: yield* Fiber.join(daemon), kept: yield* ids }
})

const databaseName = (sql: SqlClient.SqlClient) =>
  Effect.map(sql<{ name: string }>`select current_database() as name`, (rows) => rows[0]?.name)

const twoDatabases = Effect.gen(function* () {
  const sql = yield* fresh
  const { sql: other } = yield* Other
  const alone = yield* databaseName(other)
  const inside = yield* sql.withTransaction(databaseName(other))
  const nested = yield* sql.withTransaction(other.withTransaction(Effect.all([databaseName(sql), databaseName(other)])))
  return { alone, inside, nested, own: yield* databaseName(sql) }
})

const savepointAfterAbort = Effect.gen(function* () {
  const sql = yield* fresh
  return yield* Effect.exit(
    sql.withTransaction(Effect.zipRight(Effect.ignore(sql`select nothing`), sql.withTransaction(insert(1))))
  )
})

const notification = Effect.gen(function* () {
  const sql = yield* PgClient.PgClient
  return yield* Effect.exit(sql.notify("news", "hello"))
})

/** A fiber that listens, once it does, and what it has heard. */
const listener = (channel: string) =>
  Effect.gen(function* () {
    const sql = yield* PgClient.PgClient
    const heard: Array<string> = []
    const fiber = yield* Effect.fork(
      Stream.runForEach(sql.listen(channel), (word) => Effect.sync(() => void heard.push(word)))
    )
    yield* Effect.repeat(sql`select pg_notify(${channel}, 'ready')`, { until: () => heard.length > 0 })
    return { fiber, heard }
  })

const statementPerStreamedRow = Effect.gen(function* () {
  const sql = yield* fresh
  yield* sql`insert into notes select generate_series(1, 300)`
  const done = yield* Deferred.make<number>()
  const fiber = yield* Effect.fork(
    sql.withTransaction(
      sql<{ id: number }>`select id from notes`.stream.pipe(
        Stream.mapEffect(({ id }) => sql`update notes set id = ${id + 1000} where id = ${id}`),
        Stream.runCount,
        Effect.flatMap((count) => Deferred.succeed(done, count))
      )
    )
  )
  yield* Effect.raceFirst(Deferred.await(done), Effect.repeatN(ids, 1000))
  const count = yield* Deferred.poll(done)
  // Its connection is stuck: it goes away with the server's backend.
  if (Option.isNone(count)) yield* Fiber.interruptFork(fiber)
  else yield* Fiber.join(fiber)
  return Option.isSome(count)
})

const interruptedWaits = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [entered, leave] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
  const holder = yield* Effect.fork(
    sql.withTransaction(Effect.zipRight(Deferred.succeed(entered, undefined), Deferred.await(leave)))
  )
  yield* Deferred.await(entered)
  const waiting = yield* Effect.fork(Effect.scoped(sql.reserve))
  yield* Effect.yieldNow()
  yield* Fiber.interrupt(waiting)
  yield* Deferred.succeed(leave, undefined)
  yield* Fiber.join(holder)
  return yield* Effect.exit(sql`select 1`)
})

const savepointsLeft = Effect.gen(function* () {
  const sql = yield* fresh
  // Whatever a nested transaction called its savepoint, after its success there must be none of that name.
  return yield* Effect.exit(
    sql.withTransaction(
      Effect.zipRight(
        sql.withTransaction(insert(1)),
        Effect.all([sql`release savepoint effect_sql_1`, sql`release savepoint effecto_1`], { mode: "either" }).pipe(
          Effect.flatMap((all) =>
            all.some((one) => one._tag === "Right") ? Effect.succeed("left") : Effect.fail("none left")
          )
        )
      )
    )
  )
})

const reactiveQuery = (
  write: (
    sql: SqlClient.SqlClient,
    again: Effect.Effect<void>
  ) => Effect.Effect<unknown, unknown, Reactivity.Reactivity | SqlClient.SqlClient>
) =>
  Effect.gen(function* () {
    const sql = yield* fresh
    const seen: Array<number> = []
    const [first, second] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    const fiber = yield* Effect.fork(
      Stream.runForEach(
        sql.reactive(
          ["notes"],
          Effect.map(ids, (rows) => rows.length)
        ),
        (count) =>
          Effect.sync(() => seen.push(count)).pipe(
            Effect.flatMap((n) => Deferred.succeed(n === 1 ? first : second, undefined))
          )
      )
    )
    yield* Deferred.await(first)
    yield* write(sql, Deferred.await(second))
    yield* Deferred.await(second)
    yield* Fiber.interrupt(fiber)
    return seen
  })

class Note extends Model.Class<Note>("Note")({ id: Schema.Number }) {}
const Notes = Table.make(Note, { name: "notes", key: "id" })

class Account extends Model.Class<Account>("Account")({
  id: Model.Generated(Schema.Number),
  password: Model.Sensitive(Schema.String)
}) {}

const createAccounts = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  sql`drop table if exists accounts`.pipe(
    Effect.zipRight(sql`create table accounts (id serial primary key, password text)`)
  )
)

/** Everything that the spans of an effect say. */
const spansOf = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const said: Array<unknown> = []
    const tracer = yield* Effect.tracer
    const recording = Tracer.make({
      context: (f) => f(),
      span: (name, parent, context, links, start, kind, options) => {
        const span = tracer.span(name, parent, context, links, start, kind, options)
        said.push(name, span)
        return span
      }
    })
    yield* Effect.withTracer(self, recording)
    return said
      .map((one) => (typeof one === "string" ? one : JSON.stringify([...(one as Tracer.Span).attributes])))
      .join()
  })

// ------------------------------------------------------------------------------------------------------------------- ours

layer(Ours, { excludeTestServices: true })("our transactions", (it) => {
  it.effect("1: report a COMMIT that is refused as a failure", () =>
    Effect.gen(function* () {
      expect(yield* refusedCommit).toMatchObject(
        Exit.fail({ _tag: "SqlError", cause: { _tag: "CommitFailed", code: "23503", outcome: "rolledBack" } })
      )
      expect(yield* Effect.flatMap(writeSkew, Effect.exit)).toMatchObject(
        Exit.fail({ _tag: "SqlError", cause: { _tag: "SerializationFailure", code: "40001" } })
      )
    })
  )

  it.effect("2: do not report success when a failed statement was swallowed and nothing was committed", () =>
    Effect.gen(function* () {
      const { exit, kept } = yield* swallowedError
      expect(exit).toMatchObject(Exit.fail({ _tag: "SqlError", cause: { _tag: "CommitFailed", code: "25P02" } }))
      expect(kept).toEqual([])
    })
  )

  it.effect("3: keep what a concurrent savepoint reported, when its sibling fails", () =>
    Effect.gen(function* () {
      expect(yield* concurrentSavepoints).toEqual({ reported: true, kept: [1] })
    })
  )

  it.effect("4: refuse statements of a fiber that outlived them", () =>
    Effect.gen(function* () {
      const base = yield* outlivingFiber
      expect(base.exit).toMatchObject(Exit.fail({ _tag: "SqlError", cause: { _tag: "TransactionClosed" } }))
    }).pipe(Effect.provide(ours(1)))
  )

  it.effect("5: never run a statement of another client on their connection", () =>
    Effect.gen(function* () {
      const { alone, inside, nested, own } = yield* twoDatabases
      expect(inside).toBe(alone)
      expect(nested).toEqual([own, alone])
    })
  )

  it.effect("6: refuse a savepoint in an aborted transaction with the reason", () =>
    Effect.gen(function* () {
      expect(yield* savepointAfterAbort).toMatchObject(
        Exit.fail({ _tag: "SqlError", cause: { _tag: "DbError", kind: "aborted", code: "25P02" } })
      )
    })
  )

  it.effect("7: notify, and only when they are committed", () =>
    Effect.gen(function* () {
      yield* fresh
      const sql = yield* PgClient.PgClient
      expect(yield* notification).toEqual(Exit.void)
      const { fiber, heard } = yield* listener("news")
      yield* Effect.ignore(Repo.transact(Effect.zipRight(sql.notify("news", "rolled back"), Effect.fail("no"))))
      yield* Repo.transact(sql.notify("news", "committed"))
      yield* Effect.repeat(ids, { until: () => heard.includes("committed") })
      expect(heard.filter((word) => word !== "ready")).toEqual(["committed"])
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("8: leave a listener be when another of the same channel stops", () =>
    Effect.gen(function* () {
      yield* fresh
      const heard: Array<string> = []
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Notification.listen("c", (payload) => heard.push(`first ${payload}`))
          yield* Effect.scoped(Notification.listen("c", (payload) => heard.push(`second ${payload}`)))
          yield* Notification.notify("c", "kept")
          yield* Effect.repeat(ids, { until: () => heard.includes("first kept") })
        })
      )
      expect(heard).toEqual(["first kept"])
    })
  )

  it.effect("9: stream rows with a statement for each of them", () =>
    Effect.gen(function* () {
      expect(yield* statementPerStreamedRow).toBe(true)
    }).pipe(Effect.provide(ours(2)))
  )

  it.effect("10: lose no connection to an interrupted wait", () =>
    Effect.gen(function* () {
      expect(Exit.isSuccess(yield* interruptedWaits)).toBe(true)
    }).pipe(Effect.provide(ours(1)))
  )

  it.effect("11: leave no savepoint behind, and put no row into spans", () =>
    Effect.gen(function* () {
      const exit = yield* savepointsLeft
      expect(Exit.isSuccess(exit)).toBe(false)
      yield* createAccounts
      const Accounts = Table.make(Account, { name: "accounts", key: "id" })
      expect(yield* spansOf(Repo.insert(Accounts, { password: "top secret" }))).not.toContain("top secret")
    })
  )

  it.effect("12: tell reactive queries after the commit", () =>
    Effect.gen(function* () {
      const seen = yield* reactiveQuery((sql) =>
        Effect.flatMap(Reactivity.Reactivity, (reactivity) =>
          sql.withTransaction(
            Effect.zipRight(
              sql`insert into notes values (1)`,
              Transaction.onCommitOrNow(reactivity.invalidate(["notes"]))
            )
          )
        )
      )
      expect(seen).toEqual([0, 1])
    })
  )

  it.effect("13: read many keys at once, and the same key twice", () =>
    Effect.gen(function* () {
      yield* fresh
      yield* Repo.insert(Notes, { id: 1 })
      const twice = yield* Effect.all([Repo.get(Notes, 1), Repo.get(Notes, 2), Repo.get(Notes, 1)], {
        concurrency: "unbounded",
        batching: true
      })
      expect(twice.map(Option.isSome)).toEqual([true, false, true])
      const many = Array.from({ length: 70_000 }, (_, at) => at)
      expect(yield* Repo.all(Notes, { id: [...many, 1] })).toEqual([new Note({ id: 1 })])
    })
  )
})

// ------------------------------------------------------------------------------------------------------------------- the plain client

layer(Plain, { excludeTestServices: true })("the peer's behaviour: @effect/sql 0.52's own transactions", (it) => {
  it.effect("1: die of a COMMIT that is refused", () =>
    Effect.gen(function* () {
      expect(isDefect(yield* refusedCommit)).toBe(true)
      expect(isDefect(yield* Effect.flatMap(writeSkew, Effect.exit))).toBe(true)
    })
  )

  it.effect("2: report success although nothing was committed", () =>
    Effect.gen(function* () {
      const { exit, kept } = yield* swallowedError
      expect(Exit.isSuccess(exit)).toBe(true)
      expect(kept).toEqual([])
    })
  )

  it.effect("3: lose what a concurrent savepoint reported", () =>
    Effect.gen(function* () {
      expect(yield* concurrentSavepoints).toEqual({ reported: true, kept: [] })
    })
  )

  it.effect("4: run a fiber that outlived them inside of a stranger's transaction", () =>
    Effect.gen(function* () {
      const { exit, kept } = yield* Effect.provide(outlivingFiber, pool(1))
      expect(Exit.isSuccess(exit)).toBe(true)
      expect(kept).toEqual([])
    })
  )

  it.effect("5: run statements of another client in their own database", () =>
    Effect.gen(function* () {
      const { alone, inside, own } = yield* twoDatabases
      expect(inside).not.toBe(alone)
      expect(inside).toBe(own)
    })
  )

  it.effect("6: replace the reason by a defect", () =>
    Effect.gen(function* () {
      expect(isDefect(yield* savepointAfterAbort)).toBe(true)
    })
  )

  it.effect("7: cannot notify", () =>
    Effect.gen(function* () {
      expect(yield* notification).toMatchObject(Exit.fail({ _tag: "SqlError", cause: { code: "42601" } }))
    })
  )

  it.effect("8: stop one listener when another of the same channel stops", () =>
    Effect.gen(function* () {
      yield* fresh
      const sql = yield* PgClient.PgClient
      const { fiber, heard } = yield* listener("c")
      const second = yield* listener("c")
      yield* Fiber.interrupt(second.fiber)
      yield* sql`select pg_notify('c', 'lost')`
      yield* meanwhile
      expect(heard).not.toContain("lost")
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("9: wait for ever when a streamed row needs a statement", () =>
    Effect.gen(function* () {
      expect(yield* Effect.provide(statementPerStreamedRow, pool(2))).toBe(false)
    })
  )

  it.effect("10: lose the connection of an interrupted wait for ever", () =>
    Effect.gen(function* () {
      expect(Exit.isFailure(yield* Effect.provide(interruptedWaits, pool(1)))).toBe(true)
    })
  )

  it.effect("11: keep every savepoint, and put whole rows into spans", () =>
    Effect.gen(function* () {
      expect(Exit.isSuccess(yield* savepointsLeft)).toBe(true)
      yield* createAccounts
      const repository = yield* Model.makeRepository(Account, {
        tableName: "accounts",
        idColumn: "id",
        spanPrefix: "a"
      })
      expect(yield* spansOf(repository.insert({ password: "top secret" }))).toContain("top secret")
    })
  )

  it.effect("12: tell reactive queries before the commit", () =>
    Effect.gen(function* () {
      const seen = yield* reactiveQuery((sql, again) =>
        sql.withTransaction(
          // Before this transaction is over, the query has run again and will not run once more.
          Effect.zipRight(Reactivity.mutation(sql`insert into notes values (1)`, ["notes"]), again)
        )
      )
      expect(seen).toEqual([0, 0])
    })
  )

  it.effect("13: interrupt whoever asks twice for one key in a batch", () =>
    Effect.gen(function* () {
      const sql = yield* fresh
      yield* insert(1)
      const resolver = yield* SqlResolver.findById("Note", {
        Id: Schema.Number,
        Result: Note,
        ResultId: (note) => note.id,
        execute: (keys) => sql`select * from notes where ${sql.in("id", keys)}`
      })
      const exit = yield* Effect.exit(
        Effect.all([resolver.execute(1), resolver.execute(2), resolver.execute(1)], {
          concurrency: "unbounded",
          batching: true
        })
      )
      expect(Exit.isFailure(exit) && Cause.isInterrupted(exit.cause)).toBe(true)
    })
  )
})
