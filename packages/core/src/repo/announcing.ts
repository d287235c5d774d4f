/** The one place where a write is announced: when its transaction has been committed, or at once where there is none. */
import { Cause, Effect, Exit, Option } from "effect"
import { uninterruptibleMask } from "../primitives.js"
import { type Changed, Changes, type CommitStatement, type OnEnd } from "./changes.js"
import { type Database, foreignConnection } from "./database.js"
import { commitFailure } from "./ending.js"
import { foreignTransaction } from "./foreign.js"
import { frameOf, type Outcome } from "./frame.js"
import { isInDoubt } from "./indoubt.js"
import { parameterTexts } from "./messages.js"
import { type BoundStatement, boundStatement, type Piggyback } from "./pipeline.js"
import { isStale } from "./prepared.js"
import { type CommitFailed, DbError, ServerAnswer, type StatementError } from "./RepoError.js"
import { hasOneSpelling } from "./rowkey.js"
import { statementError } from "./sqlstate.js"
import { transactionSource } from "./statementlog.js"
import { transactFor } from "./transact.js"

/** The keys of what was written; `"all"` where they are not known. */
export type Keys = Iterable<unknown> | "all"

/** What a write came to, as far as others may see it: nothing when it certainly did nothing. */
const outcomeOf = <E>(cause: Cause.Cause<E>): "committed" | "unknown" | undefined => {
  const failure = Cause.failureOption(cause)
  // Interrupted, or a defect: the statement may have been faster.
  if (Option.isNone(failure)) return "unknown"
  const error = failure.value
  if (error instanceof DbError && error.kind === "decode") return "committed"
  return isInDoubt(error) ? "unknown" : undefined
}

/** PostgreSQL has refused a statement before it did anything, because it had been prepared for the table as it was; that is forgotten by now. */
const wasStale = (error: unknown): boolean =>
  error instanceof DbError && error.cause instanceof ServerAnswer && isStale(error.code, error.cause.message)

/** The keys of the rows that are asked for by these keys, as far as they are known before the database has answered. */
export const before = (known: Keys): Keys => {
  if (known === "all") return known
  const keys = [...known]
  return keys.every(hasOneSpelling) ? keys : "all"
}

/** What is sent together with a write that is a transaction by itself, and what became of both. */
class AutocommitPiggyback implements Piggyback {
  readonly before = []
  private readonly statements: ReadonlyArray<CommitStatement>
  private readonly ends: Array<(outcome: Outcome) => void> = []
  /** Until it was sent, nothing was done. */
  outcome: Outcome = "rolledBack"
  isRefused = false

  constructor(
    private readonly database: Database,
    changes: Changes
  ) {
    try {
      this.statements = database.announcer.commitStatements(changes, (listener) => this.ends.push(listener))
    } catch (problem) {
      this.end()
      throw problem
    }
  }

  /** By the names they have when they are sent: what was prepared may have to be prepared anew. */
  get behind(): ReadonlyArray<BoundStatement> {
    const { prepare } = this.database.options
    return this.statements.map((statement) => boundStatement(statement, prepare))
  }

  readonly told = (error: Error | null | undefined): void => {
    this.outcome = error ? commitFailure(error).outcome : "committed"
  }

  readonly refused = (): void => {
    this.isRefused = true
  }

  /** The write is over, and is not tried again. */
  end(): void {
    for (const end of this.ends.splice(0)) end(this.outcome)
  }
}

/** Whether what is to be sent with a write is known before that is sent, and can be. */
const canPiggyback = (database: Database, keys: Keys, parameters: ReadonlyArray<unknown> | undefined): boolean =>
  keys !== "all" &&
  parameters !== undefined &&
  // Whoever asked for an isolation, or for limits, gets them where there is more than the write.
  database.options.transactions === undefined &&
  // What only `pg` can write goes by itself.
  database.options.lists &&
  parameterTexts(parameters, String) !== undefined

/**
 * A statement that writes. `known` are the keys it is about, where they are known beforehand; `keysOf` reads them from its result. Free while nobody
 * listens. With its `parameters` it says that it can be sent together with what it is given.
 */
export const announced = <A, E, F>(
  database: Database,
  table: Changed,
  known: Keys,
  keysOf: (result: A) => Keys,
  commitFailed: (failure: CommitFailed) => F,
  statement: (piggyback?: Piggyback) => Effect.Effect<A, E>,
  parameters?: ReadonlyArray<unknown>
): Effect.Effect<A, E | F | StatementError> =>
  Effect.withFiberRuntime((fiber) => {
    const { announcer, client } = database
    if (!announcer.isHeard) return statement()
    const frame = frameOf(fiber.currentContext, client)
    const connection = frame === undefined ? foreignConnection(fiber.currentContext) : undefined
    const isAlone = frame === undefined && connection === undefined
    // What is done in a sandbox is not committed.
    const accompanies = isAlone && announcer.accompanies && database.ground === undefined
    const inTransaction = () => {
      const once = transactFor(
        database,
        announced(database, table, known, keysOf, commitFailed, statement),
        commitFailed,
        parameters !== undefined
      )
      return Effect.catchIf(once, wasStale, () => once)
    }
    let piggybacked: Changes | undefined
    if ((isAlone && announcer.needsTransaction) || accompanies) {
      const keys = before(known)
      if (announcer.needsTransaction || !canPiggyback(database, keys, parameters)) return inTransaction()
      piggybacked = new Changes()
      piggybacked.add(table, keys)
    }
    const foreign = connection && foreignTransaction(connection, announcer)
    const tell = (outcome: "committed" | "unknown", keys: Keys): Effect.Effect<void> => {
      if (frame?.note(table, keys) === true || foreign?.note(table, keys) === true) return Effect.void
      return announcer.announceOne(isAlone ? outcome : "unknown", table, keys)
    }
    /** What is to be done before a COMMIT that we are not asked for is done behind each write. */
    const join = (keys: Keys): Effect.Effect<void, StatementError> => {
      if (connection === undefined || !(announcer.needsTransaction || announcer.accompanies)) return Effect.void
      const changes = new Changes()
      changes.add(table, keys)
      const onEnd: OnEnd = foreign?.onEnd ?? ((listener) => listener("unknown"))
      return Effect.mapError(
        Effect.zipRight(
          announcer.beforeCommit(changes, onEnd) ?? Effect.void,
          Effect.suspend(() =>
            Effect.forEach(
              announcer.commitStatements(changes, onEnd),
              ({ parameters, text }) => database.query(text, parameters, transactionSource),
              { discard: true }
            )
          )
        ),
        (error) => statementError(error, `announce what was changed in ${table.name}`)
      )
    }
    let piggyback: AutocommitPiggyback | undefined
    const write = (restore: <B, G>(effect: Effect.Effect<B, G>) => Effect.Effect<B, G>) =>
      Effect.flatMap(Effect.exit(restore(statement(piggyback))), (exit): Effect.Effect<A, E | F | StatementError> => {
        piggyback?.end()
        if (piggyback?.isRefused === true) return restore(inTransaction())
        if (Exit.isSuccess(exit)) {
          const keys = keysOf(exit.value)
          const told = tell("committed", keys)
          return Effect.zipRight(connection === undefined ? told : Effect.zipRight(told, join(keys)), exit)
        }
        const outcome = piggyback === undefined ? outcomeOf(exit.cause) : piggyback.outcome
        if (outcome === undefined || outcome === "rolledBack") return exit
        const keys = before(known)
        return Effect.zipRight(Effect.zipRight(tell(outcome, keys), Effect.ignore(join(keys))), exit)
      })
    return uninterruptibleMask((restore) => {
      // In here: whoever makes what goes with the write is told of its end.
      if (piggybacked !== undefined) piggyback = new AutocommitPiggyback(database, piggybacked)
      if (!announcer.isGuarded) return write(restore)
      return Effect.suspend(() => {
        const over = announcer.begin(table, before(known))
        if (foreign !== undefined) {
          foreign.onEnd(over)
          return write(restore)
        }
        const end = Effect.sync(over)
        if (frame?.isOpen !== true) return Effect.ensuring(write(restore), end)
        frame.registrations.push({ key: undefined, on: () => end, batch: undefined, forced: undefined })
        return write(restore)
      })
    })
  })
