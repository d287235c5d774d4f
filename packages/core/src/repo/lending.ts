/**
 * Connections on loan from a client's pool, each to one borrower at a time.
 *
 *   pool ──asked, for who waits──▶ lent ──given back──▶ kept for whoever comes next in this turn of the event loop
 *    ▲                             ▲ │ ▲                 │                   │
 *    │       to who waits longest  └─┘ └──── taken ──────┘                   │
 *    └──────────── it was out for too long, it is not ready ── the turn ends ┘
 *
 * Asking the pool takes a fiber, a scope and a tick of the event loop: for a small statement that is a third of its work. A program that runs one
 * statement after the other asks once in a while; those in between take over what the one before has just given back. Where many wait, the pool is
 * asked for some of them only: the others get what goes round.
 *
 * Nobody is kept waiting by that: whatever is kept goes back before the event loop sleeps, and nothing goes round for longer than {@link longest},
 * because others may use the same pool. While somebody waits, the pool is asked by at least one.
 *
 * Kept connections and waiting borrowers never exist together. Everything that decides is synchronous.
 */
import type { SqlConnection, SqlError } from "@effect/sql"
import { Cause, Effect, Exit, Runtime, Scope } from "effect"
import type { Restore } from "../primitives.js"
import { isReady, settled } from "./driver.js"
import type { Patience } from "./patience.js"
import { ServerAnswer } from "./RepoError.js"
import { answerOf } from "./sqlstate.js"

/** A connection that was taken from the pool, and how to give it back: once. */
export interface Reserved {
  readonly connection: SqlConnection.Connection
  readonly giveBack: Effect.Effect<void>
  /** For those who wait for it meanwhile: to be told of what happens on it. */
  readonly patience?: Patience
}

/** How long a connection may go from borrower to borrower before the pool sees it again, in milliseconds. */
const longest = 10

/** How often the pool is asked at the same time: what it opens, it opens at once. */
const mostAsked = 10

/** A pool that takes longer than this to say no has waited in vain, unless a server's answer came late; in milliseconds. */
const refusing = 100

/** Whether a server, or the system, has said no: then there is a code. */
const isAnswer = (cause: Cause.Cause<unknown>): boolean => {
  const answer = answerOf(Cause.squash(cause))
  return answer instanceof ServerAnswer && answer.code !== undefined
}

/** How long the server may take to roll back what was left open, in milliseconds. */
export const settling = 5000

class Loan implements Reserved {
  readonly since = performance.now()
  readonly giveBack: Effect.Effect<void>

  constructor(
    private readonly lending: Lending,
    readonly connection: SqlConnection.Connection,
    /** Back to the pool. */
    readonly release: Effect.Effect<void>
  ) {
    this.giveBack = Effect.suspend(() => this.back() ?? Effect.void)
  }

  /** Gives it back; with what remains to be done for that, if anything does. */
  back(): Effect.Effect<void> | undefined {
    if (this.lending.keep(this)) return undefined
    return isReady(this.connection) ? this.release : Effect.zipRight(settled(this.connection, settling), this.release)
  }
}

type Arrival = Exit.Exit<Loan, SqlError.SqlError>

/** Somebody who waits for a connection. */
class Request {
  arrival: Arrival | undefined = undefined
  wake: ((arrival: Arrival) => void) | undefined = undefined
  private readonly since = performance.now()
  private end: ReturnType<typeof setTimeout> | undefined = undefined

  /** The runtime is that in which the pool may be asked for it. */
  constructor(readonly runtime: Runtime.Runtime<never>) {}

  /** For how long it had waited at a time, in milliseconds. */
  waitedAt(time: number): number {
    return time - this.since
  }

  receive(arrival: Arrival): void {
    this.arrival = arrival
    this.leave()
    this.wake?.(arrival)
  }

  /** Calls back once, after so many milliseconds, unless it waits no more by then. */
  endsIn(delay: number, tell: () => void): void {
    this.end ??= setTimeout(tell, delay)
  }

  leave(): void {
    clearTimeout(this.end)
  }
}

export class Lending {
  private readonly kept: Array<Loan> = []
  private readonly waiting: Array<Request> = []
  /** How often the pool was asked and has not answered yet. */
  private asked = 0
  /** Connections that the pool has given and not got back. */
  private out = 0
  private sweeps = false
  private readonly arrival: Effect.Effect<Loan, SqlError.SqlError>

  constructor(
    reserve: SqlConnection.Connection.Acquirer,
    /** Whether `reserve` asks nothing of the fiber it runs in: then it gets an empty one, which is cheaper. */
    private readonly needsNothing = false
  ) {
    this.arrival = Effect.flatMap(Scope.make(), (scope) => {
      const close = Scope.close(scope, Exit.void)
      const release = Effect.suspend(() => {
        this.out -= 1
        return close
      })
      return Effect.matchCauseEffect(Scope.extend(reserve, scope), {
        onFailure: (cause) => Effect.zipRight(close, Effect.failCause(cause)),
        onSuccess: (connection) =>
          Effect.sync(() => {
            this.out += 1
            return new Loan(this, connection, release)
          })
      })
    })
  }

  /** To be called in an uninterruptible region, whose `restore` makes the waiting interruptible. */
  take(restore: Restore): Effect.Effect<Reserved, SqlError.SqlError> {
    return Effect.suspend((): Effect.Effect<Reserved, SqlError.SqlError> => {
      const loan = this.atHand()
      return loan === undefined ? this.wait(restore) : Effect.succeed(loan)
    })
  }

  /** A connection that is kept here, if one is. */
  atHand(): Loan | undefined {
    for (let loan = this.kept.pop(); loan !== undefined; loan = this.kept.pop()) {
      if (isReady(loan.connection)) return loan
      Effect.runFork(loan.release)
    }
    return undefined
  }

  /** Whether the connection stays: with who waits for one, or here for a moment. */
  keep(loan: Loan): boolean {
    if (!isReady(loan.connection) || performance.now() - loan.since > longest) return false
    const first = this.waiting.shift()
    if (first !== undefined) {
      first.receive(Exit.succeed(loan))
      return true
    }
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

  /** Asks the pool, if it has to be asked for one more. */
  private ask(): void {
    const [first] = this.waiting
    if (first === undefined || this.asked >= Math.min(this.waiting.length, mostAsked)) return
    this.asked += 1
    const begun = performance.now()
    // The client's own waiting loses the connection when it is interrupted: it happens in a fiber nobody interrupts.
    Runtime.runFork(first.runtime)(this.arrival).addObserver((arrival) => {
      this.asked -= 1
      if (Exit.isSuccess(arrival)) {
        const next = this.waiting.shift()
        if (next === undefined) Effect.runFork(arrival.value.release)
        else next.receive(arrival)
      } else this.fail(arrival, begun, performance.now() - begun > refusing && !isAnswer(arrival.cause))
      this.ask()
    })
  }

  /**
   * Everybody who was there when the pool was asked would have been told the same; where one goes round, others than the first may still get that. But
   * nobody waits longer than the pool does, whoever it was asked for: those who came later are told in their time.
   */
  private fail(arrival: Arrival, begun: number, isInVain: boolean): void {
    const there = this.waiting.filter((request) => request.waitedAt(begun) >= 0)
    for (const request of this.out > 0 && !isInVain ? there.slice(0, 1) : there) this.tell(request, arrival)
    if (isInVain)
      for (const request of this.waiting) request.endsIn(-request.waitedAt(begun), () => this.tell(request, arrival))
  }

  private tell(request: Request, arrival: Arrival): void {
    this.waiting.splice(this.waiting.indexOf(request), 1)
    request.receive(arrival)
  }

  private wait(restore: Restore): Effect.Effect<Reserved, SqlError.SqlError> {
    return Effect.withFiberRuntime((fiber) => {
      const request = new Request(
        this.needsNothing
          ? Runtime.defaultRuntime
          : Runtime.make({
              context: fiber.currentContext,
              fiberRefs: fiber.getFiberRefs(),
              runtimeFlags: Runtime.defaultRuntimeFlags
            })
      )
      this.waiting.push(request)
      this.ask()
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
      this.waiting.splice(this.waiting.indexOf(request), 1)
      request.leave()
    }
    return arrival !== undefined && Exit.isSuccess(arrival) && Cause.isInterrupted(cause)
      ? arrival.value.release
      : Effect.void
  }
}
