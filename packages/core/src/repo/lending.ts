/**
 * Connections on loan from a client's pool, each to one borrower at a time.
 *
 *   pool ──a borrower waits──▶ lent ──given back──▶ kept for whoever comes next in this turn of the event loop
 *    ▲                          ▲                      │                     │
 *    │                          └──── taken ───────────┘                     │
 *    └── somebody waits, it was out for too long, it is not ready ── the turn ends ┘
 *
 * Asking the pool takes a fiber, a scope and a tick of the event loop: for a small statement that is a third of its work. A program that runs one
 * statement after the other asks once in a while; those in between take over what the one before has just given back.
 *
 * Nobody is kept waiting by that: whatever is kept goes back before the event loop sleeps, nothing is kept while one of our own borrowers waits, and
 * nothing is kept on for longer than {@link longest}, because others may use the same pool.
 *
 * Kept connections and waiting borrowers never exist together. Everything that decides is synchronous.
 */
import type { SqlConnection, SqlError } from "@effect/sql"
import { Cause, Effect, Exit, Runtime, Scope } from "effect"
import { isReady, settled } from "./driver.js"
import type { Patience } from "./patience.js"

/** A connection that was taken from the pool, and how to give it back: once. */
export interface Reserved {
  readonly connection: SqlConnection.Connection
  readonly giveBack: Effect.Effect<void>
  /** For those who wait for it meanwhile: to be told of what happens on it. */
  readonly patience?: Patience
}

export type Restore = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** How long a connection may go from borrower to borrower before the pool sees it again, in milliseconds. */
const longest = 10

/** How long the server may take to roll back what was left open, in milliseconds. */
export const settling = 5000

class Loan implements Reserved {
  readonly since = performance.now()
  readonly giveBack: Effect.Effect<void>

  constructor(
    lending: Lending,
    readonly connection: SqlConnection.Connection,
    /** Back to the pool. */
    readonly release: Effect.Effect<void>
  ) {
    this.giveBack = Effect.suspend(() => {
      if (lending.keep(this)) return Effect.void
      return isReady(connection) ? release : Effect.zipRight(settled(connection, settling), release)
    })
  }
}

type Arrival = Exit.Exit<Loan, SqlError.SqlError>

/** Somebody who waits for the pool. */
interface Request {
  arrival: Arrival | undefined
  wake: ((arrival: Arrival) => void) | undefined
  /** Nobody waits any more. */
  abandoned: boolean
}

export class Lending {
  private readonly kept: Array<Loan> = []
  private waiting = 0
  private sweeps = false
  private readonly arrival: Effect.Effect<Loan, SqlError.SqlError>

  constructor(
    reserve: SqlConnection.Connection.Acquirer,
    /** Whether `reserve` asks nothing of the fiber it runs in: then it gets an empty one, which is cheaper. */
    private readonly needsNothing = false
  ) {
    this.arrival = Effect.flatMap(Scope.make(), (scope) => {
      const release = Scope.close(scope, Exit.void)
      return Effect.matchCauseEffect(Scope.extend(reserve, scope), {
        onFailure: (cause) => Effect.zipRight(release, Effect.failCause(cause)),
        onSuccess: (connection) => Effect.succeed(new Loan(this, connection, release))
      })
    })
  }

  /** To be called in an uninterruptible region, whose `restore` makes the waiting interruptible. */
  take(restore: Restore): Effect.Effect<Reserved, SqlError.SqlError> {
    return Effect.suspend((): Effect.Effect<Reserved, SqlError.SqlError> => {
      for (let loan = this.kept.pop(); loan !== undefined; loan = this.kept.pop()) {
        if (isReady(loan.connection)) return Effect.succeed(loan)
        Effect.runFork(loan.release)
      }
      return this.wait(restore)
    })
  }

  /** Whether the connection stays here for a moment. */
  keep(loan: Loan): boolean {
    if (this.waiting > 0 || !isReady(loan.connection) || performance.now() - loan.since > longest) return false
    this.kept.push(loan)
    if (!this.sweeps) {
      this.sweeps = true
      setImmediate(this.sweep)
    }
    return true
  }

  private readonly sweep = () => {
    this.sweeps = false
    for (const loan of this.kept.splice(0)) Effect.runFork(loan.release)
  }

  /**
   * The client's own waiting loses the connection when it is interrupted: it happens in a fiber nobody interrupts, and what arrives too late goes
   * straight back.
   */
  private wait(restore: Restore): Effect.Effect<Reserved, SqlError.SqlError> {
    return Effect.withFiberRuntime((fiber) => {
      const request: Request = { arrival: undefined, wake: undefined, abandoned: false }
      this.waiting += 1
      const runtime = this.needsNothing
        ? Runtime.defaultRuntime
        : Runtime.make({
            context: fiber.currentContext,
            fiberRefs: fiber.getFiberRefs(),
            runtimeFlags: Runtime.defaultRuntimeFlags
          })
      Runtime.runFork(runtime)(this.arrival).addObserver((arrival) => {
        if (request.abandoned) {
          if (Exit.isSuccess(arrival)) Effect.runFork(arrival.value.release)
          return
        }
        this.waiting -= 1
        request.arrival = arrival
        request.wake?.(arrival)
      })
      const arrived = Effect.async<Loan, SqlError.SqlError>((resume) => {
        if (request.arrival === undefined) request.wake = resume
        else resume(request.arrival)
      })
      return Effect.matchCauseEffect(restore(arrived), {
        onFailure: (cause) => Effect.zipRight(this.abandon(request, cause), Effect.failCause(cause)),
        onSuccess: (loan) => Effect.succeed(loan)
      })
    })
  }

  /** An interruption can arrive after the connection did, and before the fiber that waited runs. */
  private abandon(request: Request, cause: Cause.Cause<SqlError.SqlError>): Effect.Effect<void> {
    const { arrival } = request
    if (arrival === undefined) {
      request.abandoned = true
      this.waiting -= 1
    }
    return arrival !== undefined && Exit.isSuccess(arrival) && Cause.isInterrupted(cause)
      ? arrival.value.release
      : Effect.void
  }
}
