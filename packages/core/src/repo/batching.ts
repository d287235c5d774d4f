/**
 * Many gets of one table as one statement, for those who ask for it.
 *
 *   get ─┐
 *   get ─┼─▶ collected until this turn of the event loop ends ─▶ `where key = any($1)` in a fiber of its own ─▶ each its own row
 *   get ─┘
 *
 * Collected together is what reads the same columns of the same table in the same place: in one transaction, in one session, or outside of all. Everybody
 * hooks their own row; a failure of the statement is everybody's, unless it is about the value of a key: outside of a transaction, which
 * that would abort, everybody asks again alone. Who is interrupted leaves the others alone, and the last one stops the statement.
 *
 * Which row is whose is told by the key as it is stored. Whole numbers are one when they are equal. Text may be one for the database and not here (a uuid
 * in capitals, citext): who finds nothing by a text, or a fraction, asks once more, alone.
 */
import type { SqlError } from "@effect/sql"
import { Cause, Effect, type Exit, Fiber, FiberRef, Option, Runtime } from "effect"
import { uninterruptibleMask, waiting } from "../primitives.js"
import type { AnyFiber } from "./connection.js"
import { type Database, foreignConnection } from "./database.js"
import { Frame, frameOf } from "./frame.js"
import { type Held, heldOf } from "./held.js"
import { DbError, type StatementError } from "./RepoError.js"
import { type Stored, shapeOf } from "./rowdecoder.js"
import { statementError } from "./sqlstate.js"
import { timedDecoding } from "./statementtimes.js"
import type { TableImplementation } from "./tableimplementation.js"
import type { Reads, TablePlan } from "./tableplan.js"

const isBatching = FiberRef.unsafeMake(false, { join: (parent) => parent })

/**
 * Runs an effect in which `get` and `fetch` of one table that are asked for at the same time, by fibers that run concurrently, become one statement.
 * Each of them waits until the event loop's turn ends, so one after the other they are a little slower.
 *
 * Answers, errors and hooks are those of each call: a key may be asked for twice, or not be there. Batched is what happens in one transaction, or
 * outside of all, with a key of one field that is a number, a bigint or a string. Reads with a lock, and those that a middleware narrows, stay on
 * their own.
 *
 * @since 0.1.0
 * @category reading
 * @example
 * ```ts
 * import { Model, SqlClient } from "@effect/sql"
 * import { Repo, Table } from "@effecto/core"
 * import { EmbeddedPostgres } from "@effecto/core/testing"
 * import { Effect, Layer, Metric, Schema } from "effect"
 *
 * class Person extends Model.Class<Person>("Person")({ id: Schema.Number, name: Schema.String }) {}
 *
 * const People = Table.make(Person, { name: "people", key: "id" })
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`create table people (id int primary key, name text not null)`
 *   yield* sql`insert into people select i, 'person ' || i from generate_series(1, 100) i`
 *   const before = (yield* Metric.value(Repo.queries)).count
 *   const people = yield* Effect.forEach([1, 2, 2, 3], (id) => Repo.fetch(People, id), { concurrency: "unbounded" }).pipe(
 *     Repo.withBatching
 *   )
 *   console.log(people.map(({ name }) => name).join(", ")) // person 1, person 2, person 2, person 3
 *   console.log((yield* Metric.value(Repo.queries)).count - before) // 1
 * })
 *
 * const Database = Repo.layer().pipe(Layer.provideMerge(EmbeddedPostgres))
 *
 * Effect.runPromise(program.pipe(Effect.provide(Database)))
 * ```
 */
export const withBatching = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.locally(self, isBatching, true)

/** A row that was found: made with all others, for the first who asks for it by the same plan. Whoever else does gets an instance of their own. */
class Row {
  constructor(
    private readonly plan: TablePlan,
    private readonly stored: Stored,
    private made: object | undefined
  ) {}

  /** Two models may be read by the same text. */
  take(plan: TablePlan): ReadonlyArray<object> | DbError {
    const { made } = this
    if (made === undefined || plan !== this.plan) return plan.decode([this.stored])
    this.made = undefined
    return [made]
  }
}

/** What a key finds: a row, none, or that nobody knows. */
type Found = Row | "none" | "unknown"

type Find = (key: unknown) => Found

type Finds = Exit.Exit<Find, SqlError.SqlError>

/** Somebody who waits. */
type Receive = (finds: Finds) => void

type Rows = Effect.Effect<ReadonlyArray<object>, StatementError>

/** One statement to be. */
interface Batch {
  readonly keys: Set<unknown>
  waiting: Array<Receive>
  /** The statement, once it runs. */
  fiber: AnyFiber | undefined
}

/** One of the keys is no value of its column. */
const isAboutValue = (error: StatementError) => error._tag === "DbError" && error.code?.startsWith("22") === true

/** Where something is read: in a transaction, on the connection of a session, or outside of all. */
const outside = {}

type Where = Frame | Held | typeof outside

/** Nothing where one of them does not fit its model: that is the failure, or the defect, of those who ask for it. */
const madeOf = (plan: TablePlan, rows: ReadonlyArray<Stored>): ReadonlyArray<object> => {
  try {
    const decoded = plan.decode(rows)
    return decoded instanceof DbError ? [] : decoded
  } catch {
    return []
  }
}

const finder = (fiber: AnyFiber, plan: TablePlan, rows: ReadonlyArray<Stored>): Find => {
  const byKey = new Map<unknown, Row>()
  let isWhole = true
  const shape = shapeOf(rows)
  const made = timedDecoding(fiber, () => madeOf(plan, rows))
  for (const [at, stored] of rows.entries()) {
    const key = plan.storedKey(stored, shape)
    if (key === undefined) isWhole = false
    else byKey.set(key, new Row(plan, stored, made[at]))
  }
  return (key) =>
    byKey.get(key) ?? (isWhole && (Number.isSafeInteger(key) || typeof key === "bigint") ? "none" : "unknown")
}

const taken = (row: Row, plan: TablePlan): Rows => {
  const rows = row.take(plan)
  return rows instanceof DbError ? Effect.fail(rows) : Effect.succeed(rows)
}

export class Batching {
  /** What is still collected: by where, and there by the text of the statement. */
  private readonly open = new Map<Where, Map<string, Batch>>()

  constructor(private readonly database: Database) {}

  /** Whether a fiber asks for its gets to be batched, and this one can be. */
  takes(fiber: AnyFiber, table: TableImplementation, key: ReadonlyArray<unknown>): boolean {
    const [only, ...others] = key
    return (
      fiber.getFiberRef(isBatching) &&
      others.length === 0 &&
      (typeof only === "number" || typeof only === "string" || typeof only === "bigint") &&
      // What stands in a statement of its own belongs to one call.
      table.plan.source.standing === undefined &&
      foreignConnection(fiber.currentContext) === undefined
    )
  }

  /** The row of a key, if there is one, for the fiber that asks; `alone` is how it asks otherwise. */
  get(fiber: AnyFiber, table: TableImplementation, reads: Reads, key: unknown, alone: () => Rows): Rows {
    const { client } = this.database
    const where = frameOf(fiber.currentContext, client) ?? heldOf(fiber.currentContext, client) ?? outside
    const batch = this.join(fiber, where, table.plan, reads.anyText, key)
    let resumes: Receive | undefined
    const answer = waiting<Find, SqlError.SqlError>((resume) => {
      resumes = resume
      batch.waiting.push(resume)
    })
    // What Effect.async itself does with an interruption takes five Effects more.
    return uninterruptibleMask((restore) =>
      Effect.matchCauseEffect(restore(answer), {
        onFailure: (cause): Rows => {
          const failure = Cause.map(cause, (error) => statementError(error, `read ${table.name}`))
          const mine = Cause.failureOption(failure)
          if (Option.isSome(mine) && batch.keys.size > 1 && !(where instanceof Frame) && isAboutValue(mine.value))
            return restore(alone())
          return Effect.zipRight(this.leave(batch, resumes), Effect.failCause(failure))
        },
        onSuccess: (find) => {
          const found = find(key)
          if (found === "unknown") return restore(alone())
          return found === "none" ? Effect.succeed([]) : taken(found, table.plan)
        }
      })
    )
  }

  private join(fiber: AnyFiber, where: Where, plan: TablePlan, text: string, key: unknown): Batch {
    let here = this.open.get(where)
    if (here === undefined) {
      here = new Map()
      this.open.set(where, here)
    }
    const known = here.get(text)
    if (known !== undefined) {
      known.keys.add(key)
      return known
    }
    const batch: Batch = { keys: new Set([key]), waiting: [], fiber: undefined }
    here.set(text, batch)
    // The statement runs where the first who asked stands: in its transaction, with its logger and its tracer.
    const runtime = Runtime.make({
      context: fiber.currentContext,
      fiberRefs: fiber.getFiberRefs(),
      runtimeFlags: Runtime.defaultRuntimeFlags
    })
    setImmediate(() => {
      here.delete(text)
      if (here.size === 0) this.open.delete(where)
      if (batch.waiting.length === 0) return
      const answer = this.database.query(text, [[...batch.keys]], plan.source, true, true)
      const statement = Effect.flatMap(answer, ({ rows }) =>
        Effect.withFiberRuntime((own) => Effect.succeed(finder(own, plan, rows)))
      )
      batch.fiber = Runtime.runFork(runtime)(statement)
      batch.fiber.addObserver((finds) => {
        const { waiting } = batch
        batch.waiting = []
        // Sound: the fiber runs the statement above.
        for (const receive of waiting) receive(finds as Finds)
      })
    })
    return batch
  }

  /** Somebody does not wait any more; the last one stops what runs for nobody. */
  private leave(batch: Batch, receive: Receive | undefined): Effect.Effect<void> {
    const place = receive === undefined ? -1 : batch.waiting.indexOf(receive)
    if (place >= 0) batch.waiting.splice(place, 1)
    return place >= 0 && batch.waiting.length === 0 && batch.fiber !== undefined
      ? Effect.asVoid(Fiber.interrupt(batch.fiber))
      : Effect.void
  }
}
