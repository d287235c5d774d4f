/**
 * Random nested transactions, interrupted and with their backends killed at random moments, against a model of what must be committed.
 *
 * Every transaction and savepoint inserts rows and registers work for after the commit. What was reported decides what has to be there:
 * committed if and only if reported, and after-commit work if and only if committed.
 */
import { Model, SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { expect, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Random, Schema } from "effect"
import * as AdvisoryLock from "../../src/locks/AdvisoryLock.js"
import * as Repo from "../../src/repo/Repo.js"
import { CommitFailed } from "../../src/repo/RepoError.js"
import * as Table from "../../src/repo/Table.js"
import * as Transaction from "../../src/repo/Transaction.js"
import { EmbeddedPostgres } from "../../src/testing.js"

const connections = 4
/** In each of the two tests; more are run by setting this. */
const transactions = Number(process.env.FUZZ_TRANSACTIONS ?? 1_500)
const fibers = 200

const TestRepo = Repo.layer().pipe(
  Layer.provideMerge(
    Layer.unwrapEffect(
      Effect.map(PgClient.PgClient, ({ config }) => PgClient.layer({ ...config, maxConnections: connections }))
    )
  )
)

/** A pool of its own for whoever looks and kills from outside. */
class Outside extends Effect.Service<Outside>()("Outside", {
  effect: Effect.map(SqlClient.SqlClient, (sql) => ({ sql }))
}) {}

/** One level: the rows it inserted itself, what was reported of it, the levels below it. */
interface Level {
  readonly rows: Array<number>
  /** Those of them that were inserted between hooks. */
  readonly hooked: Array<number>
  readonly levels: Array<Level>
  readonly committed: { ran: boolean }
  readonly rolledBack: { ran: boolean }
  exit: Exit.Exit<unknown, unknown> | undefined
}

let nextRow = 0

/** How often each row was reported to the hook after the commit. */
const heard = new Map<number, number>()

class Row extends Model.Class<Row>("Row")({ id: Schema.Number }) {}

const Rows = Table.make(Row, { name: "fuzz", key: "id" }).pipe(
  Table.hooks({
    // A hook that yields: the savepoint of its write is open meanwhile.
    afterInsert: (row) => Effect.as(Effect.yieldNow(), row),
    afterCommit: (changes) =>
      Effect.sync(() => {
        for (const { row } of changes) heard.set(row.id, (heard.get(row.id) ?? 0) + 1)
      })
  })
)

/** Fibers that were forked in a transaction and perhaps outlived it. */
const outliving: Array<Fiber.Fiber<unknown>> = []

type Step =
  | "insert"
  | "hooked insert"
  | "lock"
  | "fail"
  | "die"
  | "swallow"
  | "nested"
  | "siblings"
  | "daemon"
  | "daemon insert"
  | "yield"
  | "pause"
  | "kill"
const steps: ReadonlyArray<Step> = [
  ...Array.from({ length: 12 }, (): Step => "insert"),
  ...Array.from({ length: 6 }, (): Step => "nested"),
  ...Array.from({ length: 3 }, (): Step => "yield"),
  ...Array.from({ length: 4 }, (): Step => "hooked insert"),
  "lock",
  "lock",
  "siblings",
  "siblings",
  "daemon",
  "daemon",
  "daemon insert",
  "daemon insert",
  "pause",
  "pause",
  "fail",
  "fail",
  "die",
  "swallow",
  "kill"
]

const level = (
  depth: number,
  into: Array<Level>,
  kills: boolean
): Effect.Effect<void, unknown, Repo.Repo | SqlClient.SqlClient | Outside> =>
  Effect.suspend(() => {
    const self: Level = {
      rows: [],
      hooked: [],
      levels: [],
      committed: { ran: false },
      rolledBack: { ran: false },
      exit: undefined
    }
    into.push(self)
    const body = Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { sql: outside } = yield* Outside
      yield* Transaction.afterCommit(
        Effect.sync(() => {
          self.committed.ran = true
        })
      )
      yield* Transaction.afterRollback(
        Effect.sync(() => {
          self.rolledBack.ran = true
        })
      )
      const length = yield* Random.nextIntBetween(1, 5)
      for (let at = 0; at < length; at += 1) {
        const step = steps[yield* Random.nextIntBetween(0, steps.length)]
        switch (step) {
          case "insert": {
            nextRow += 1
            const row = nextRow
            yield* sql`insert into fuzz values (${row})`
            self.rows.push(row)
            break
          }
          case "hooked insert": {
            nextRow += 1
            const row = nextRow
            yield* Repo.insert(Rows, { id: row })
            self.rows.push(row)
            self.hooked.push(row)
            break
          }
          case "lock":
            // Two transactions that want both, the one first and the other first, are a deadlock that PostgreSQL ends.
            yield* AdvisoryLock.acquire(`fuzz ${yield* Random.nextIntBetween(0, 3)}`, { wait: "1 second" })
            break
          case "nested":
            // A failure of the savepoint is handled here; its interruption is ours too.
            if (depth < 3) yield* Effect.catchAllCause(level(depth + 1, self.levels, kills), Effect.logTrace)
            break
          case "siblings":
            if (depth < 3)
              yield* Effect.all(
                [1, 2, 3].map(() => Effect.catchAllCause(level(depth + 1, self.levels, kills), Effect.logTrace)),
                { concurrency: "unbounded" }
              )
            break
          case "daemon":
            // Nobody waits for it: when this level ends first, nothing of it may be kept.
            if (depth < 3) outliving.push(yield* Effect.forkDaemon(Effect.exit(level(depth + 1, self.levels, kills))))
            break
          case "daemon insert": {
            nextRow += 1
            const row = nextRow
            outliving.push(
              yield* Effect.forkDaemon(
                Effect.exit(
                  Effect.tap(sql`insert into fuzz values (${row})`, () =>
                    Effect.sync(() => {
                      self.rows.push(row)
                    })
                  )
                )
              )
            )
            break
          }
          case "fail":
            return yield* Effect.fail("failed")
          case "die":
            return yield* Effect.die("died")
          case "swallow":
            yield* Effect.ignore(sql`select nothing`)
            break
          case "pause":
            // Without a statement of its own, so that whoever was forked gets on.
            yield* Effect.repeatN(Effect.ignore(outside`select 1`), 2)
            break
          case "yield":
            yield* Effect.yieldNow()
            break
          case "kill":
            if (kills) {
              const [backend] = yield* sql<{ pid: number }>`select pg_backend_pid() as pid`
              yield* Effect.fork(
                Effect.ignore(
                  Effect.provideService(
                    outside`select pg_terminate_backend(${backend?.pid ?? 0})`,
                    Repo.Repo,
                    yield* Repo.Repo
                  )
                )
              )
            }
            break
        }
      }
    })
    return Effect.onExit(Repo.transact(body), (exit) =>
      Effect.sync(() => {
        self.exit = exit
      })
    )
  })

/** The levels whose rows are kept, given that the outermost one is. */
const kept = (self: Level): ReadonlyArray<Level> => [
  self,
  ...self.levels.filter((below) => below.exit !== undefined && Exit.isSuccess(below.exit)).flatMap(kept)
]

const everything = (self: Level): ReadonlyArray<Level> => [self, ...self.levels.flatMap(everything)]

const isUnknown = (exit: Exit.Exit<unknown, unknown> | undefined) =>
  exit !== undefined &&
  Exit.isFailure(exit) &&
  exit.cause._tag === "Fail" &&
  exit.cause.error instanceof CommitFailed &&
  exit.cause.error.outcome === "unknown"

const isInterrupted = (exit: Exit.Exit<unknown, unknown> | undefined) => exit !== undefined && Exit.isInterrupted(exit)

/** What is wrong with one transaction, given the rows that are there. */
const violations = (root: Level, there: ReadonlySet<number>): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  const all = everything(root)
  const mustBeKept = kept(root)
  const present = all.flatMap((one) => one.rows).filter((row) => there.has(row))
  const ran = all.filter((one) => one.committed.ran)
  const expected = mustBeKept.flatMap((one) => one.rows)
  const sameAs = (rows: ReadonlyArray<number>) => rows.length === present.length && rows.every((row) => there.has(row))
  if (isUnknown(root.exit)) {
    if (!(sameAs(expected) || present.length === 0)) wrong.push("unknown, and neither all nor nothing is there")
    if (ran.length > 0) wrong.push("unknown, and after-commit work ran")
    return wrong
  }
  // Whoever is interrupted cannot be told; that the work ran tells it instead.
  const committed =
    root.exit !== undefined && Exit.isSuccess(root.exit) ? true : isInterrupted(root.exit) && root.committed.ran
  if (committed) {
    if (!sameAs(expected)) wrong.push(`committed, and ${present.length} rows of ${expected.length} are there`)
    if (ran.length !== mustBeKept.length || !mustBeKept.every((one) => one.committed.ran))
      wrong.push("committed, and not the after-commit work of exactly what was kept ran")
  } else {
    if (present.length > 0) wrong.push("not committed, and rows are there")
    if (ran.length > 0) wrong.push("not committed, and after-commit work ran")
  }
  const toBeHeard = new Set(committed ? mustBeKept.flatMap((one) => one.hooked) : [])
  if (all.some((one) => one.hooked.some((row) => (heard.get(row) ?? 0) !== (toBeHeard.has(row) ? 1 : 0))))
    wrong.push("the hook after the commit heard of something else than what was committed between hooks")
  if (all.some((one) => one.committed.ran && one.rolledBack.ran)) wrong.push("work for both ends ran")
  return wrong
}

const run = (seed: number, kills: boolean) =>
  Effect.gen(function* () {
    const { sql: outside } = yield* Outside
    yield* outside`drop table if exists fuzz`
    yield* outside`create table fuzz (id int primary key)`
    const roots: Array<Level> = []
    yield* Effect.forEach(
      Array.from({ length: transactions }),
      () =>
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(level(0, roots, kills))
          if ((yield* Random.nextIntBetween(0, 3)) === 0) {
            // Some time: a few looks from outside, and a few yields.
            yield* Effect.repeatN(Effect.ignore(outside`select 1`), yield* Random.nextIntBetween(0, 8))
            yield* Effect.repeatN(Effect.yieldNow(), yield* Random.nextIntBetween(0, 10))
            yield* Fiber.interrupt(fiber)
          } else yield* Fiber.await(fiber)
        }),
      { concurrency: fibers, discard: true }
    )
    yield* Fiber.awaitAll(outliving)
    const there = new Set((yield* outside<{ id: number }>`select id from fuzz`).map((row) => row.id))
    const wrong = roots.flatMap((root) => violations(root, there))
    const [state] = yield* outside<{ idle: number; locks: number }>`
      select (select count(*)::int from pg_stat_activity where datname = current_database() and state like 'idle in transaction%') as idle,
             (select count(*)::int from pg_locks where pid <> pg_backend_pid() and (locktype = 'advisory'
               and database = (select oid from pg_database where datname = current_database())
               or locktype = 'relation' and relation = 'fuzz'::regclass)) as locks`
    const ends = {
      committed: roots.filter((root) => root.exit !== undefined && Exit.isSuccess(root.exit)).length,
      interrupted: roots.filter((root) => isInterrupted(root.exit)).length,
      unknown: roots.filter((root) => isUnknown(root.exit)).length
    }
    // Every connection of the pool is still there: as many transactions as it has are open at once.
    const together = yield* Deferred.make<void>()
    let open = 0
    yield* Effect.all(
      Array.from({ length: connections }, () =>
        Repo.transact(
          Effect.suspend(() => {
            open += 1
            return open === connections ? Deferred.succeed(together, undefined) : Deferred.await(together)
          })
        )
      ),
      { concurrency: "unbounded" }
    )
    return { wrong, state, ends }
  }).pipe(Effect.withRandom(Random.make(seed)))

layer(Layer.merge(TestRepo, Outside.Default).pipe(Layer.provide(EmbeddedPostgres)), { excludeTestServices: true })(
  "random nested transactions",
  (it) => {
    it.effect(
      "keep exactly what they report when they are interrupted at random",
      () =>
        Effect.gen(function* () {
          const seed = Date.now()
          const { ends, state, wrong } = yield* run(seed, false)
          expect({ seed, wrong }).toEqual({ seed, wrong: [] })
          expect(state).toEqual({ idle: 0, locks: 0 })
          expect(Math.min(ends.committed, ends.interrupted)).toBeGreaterThan(10)
        }),
      60_000
    )

    it.effect(
      "keep exactly what they report when their backends are killed as well",
      () =>
        Effect.gen(function* () {
          const seed = Date.now()
          const { ends, state, wrong } = yield* run(seed, true)
          expect({ seed, wrong }).toEqual({ seed, wrong: [] })
          expect(state).toEqual({ idle: 0, locks: 0 })
          expect(Math.min(ends.committed, ends.interrupted)).toBeGreaterThan(10)
        }),
      60_000
    )
  }
)
