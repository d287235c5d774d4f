/**
 * The fiber that listens: it connects, proves that it hears, and begins anew whenever it does not.
 *
 *   connect ─▶ LISTEN ─▶ prove, by another connection ─▶ see: everything kept is forgotten, then served again
 *      ▲                                                    │
 *      │                                       a probe every so often, on its own connection
 *      │                                                    │
 *      └── backoff ◀── blind ◀── the connection ends, or a probe is not heard in time
 *
 * It knows nothing of PostgreSQL and of caches: both come in by `Line` and `Owner`. Its times are those of Effect's Clock.
 */
import { Data, Deferred, type Duration, Effect, FiberId, Schedule, type Scope } from "effect"

/** A connection that listens. */
export interface Line<E> {
  readonly send: (payload: string) => Effect.Effect<void, E>
  readonly ended: Effect.Effect<void>
}

/** No answer to a probe came in time. */
export class Deaf extends Data.TaggedError("Deaf")<{ readonly since: "connecting" | "listening" }> {
  override get message(): string {
    return "it did not hear its own probe in time"
  }
}

/** The connection has ended. */
export class Lost extends Data.TaggedError("Lost") {
  override get message(): string {
    return "its connection has ended"
  }
}

/** The Repo was started anew, and its client may go to another server. */
export class Renewed extends Data.TaggedError("Renewed") {
  override get message(): string {
    return "its Repo was started anew"
  }
}

export interface Owner<E> {
  readonly open: Effect.Effect<Line<E>, E, Scope.Scope>
  /** A connection to send one probe by. */
  readonly other: Effect.Effect<Line<E>, E, Scope.Scope>
  readonly payload: (probe: number) => string
  /** Called once it is sure that from now on everything will be heard. */
  readonly see: () => void
  /** Called as soon as it is not any more; and may be called again. */
  readonly blind: (reason: E | Deaf | Lost) => void
  readonly every: Duration.Duration
  readonly within: Duration.Duration
  readonly backoff: Schedule.Schedule<unknown>
}

export class Listener<E> {
  private sent = 0
  private waiting: { readonly probe: number; readonly heard: Deferred.Deferred<void> } | undefined = undefined

  constructor(private readonly owner: Owner<E>) {}

  /** A probe of our own has come back. */
  heard(probe: number): void {
    if (this.waiting?.probe === probe) Deferred.unsafeDone(this.waiting.heard, Effect.void)
  }

  private probe(line: Line<E>, since: Deaf["since"]): Effect.Effect<void, E | Deaf> {
    return Effect.suspend(() => {
      this.sent += 1
      const probe = this.sent
      const deaf = new Deaf({ since })
      const waiting = { probe, heard: Deferred.unsafeMake<void>(FiberId.none) }
      this.waiting = waiting
      const answered = Effect.zipRight(line.send(this.owner.payload(probe)), Deferred.await(waiting.heard))
      // Blind in the very step in which the time is over: to stop the statement may take a second more.
      const late = Effect.zipRight(
        Effect.delay(
          Effect.sync(() => this.owner.blind(deaf)),
          this.owner.within
        ),
        Effect.fail(deaf)
      )
      return Effect.raceFirst(answered, late)
    })
  }

  /** One connection's life. */
  private readonly life = (seen: () => void): Effect.Effect<never, E | Deaf | Lost> =>
    Effect.scoped(
      Effect.gen(this, function* () {
        const line = yield* this.owner.open
        yield* Effect.raceFirst(
          Effect.scoped(Effect.flatMap(this.owner.other, (other) => this.probe(other, "connecting"))),
          Effect.zipRight(line.ended, new Lost())
        )
        this.owner.see()
        seen()
        return yield* Effect.raceFirst(
          Effect.zipRight(line.ended, new Lost()),
          Effect.forever(Effect.delay(this.probe(line, "listening"), this.owner.every))
        )
      })
    ).pipe(Effect.tapError((reason) => Effect.sync(() => this.owner.blind(reason))))

  /**
   * Listens for good. `first` is told how the first attempt went; should that have failed, this is all. Ends otherwise only with the backoff's own end, by the
   * failure that came last.
   */
  readonly run = (first: Deferred.Deferred<void, E | Deaf | Lost>): Effect.Effect<void, E | Deaf | Lost> =>
    Effect.flatMap(Schedule.driver(this.owner.backoff), (driver) => {
      const again: Effect.Effect<void, E | Deaf | Lost> = Effect.suspend(() => {
        let saw = false
        return Effect.catchAll(
          this.life(() => {
            saw = true
            Deferred.unsafeDone(first, Effect.void)
          }),
          (reason) =>
            Effect.flatMap(Deferred.isDone(first), (begun) =>
              begun
                ? Effect.zipRight(saw ? driver.reset : Effect.void, driver.next(undefined)).pipe(
                    Effect.mapError(() => reason),
                    Effect.zipRight(again)
                  )
                : Effect.asVoid(Deferred.fail(first, reason))
            )
        )
      })
      return again
    })
}
