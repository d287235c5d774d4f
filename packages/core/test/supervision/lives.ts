/** Instances that go wrong, as random faults make them of children of either kind, and whether each of them was finalized once. */
import { Deferred, Effect, FiberId, type Scope } from "effect"

/** How one instance behaves: its build, its worker, and its finalizer. */
export interface Life {
  readonly build: "ok" | "slow" | "fail" | "hang" | "cannot be interrupted" | "ignore"
  readonly worker: "none" | "lives" | "crashes soon" | "crashes later" | "ends" | "ignores interruption"
  readonly finalizer: "ok" | "slow" | "hang" | "dies"
}

export class Lives {
  /** What hangs, and hears no interruption, goes on when this is done. */
  readonly release = Deferred.unsafeMake<void>(FiberId.none)
  private readonly acquired = new Set<string>()
  private readonly finalized: Array<string> = []

  /** In one step: an interrupt must not come in between. */
  acquire(name: string, finalizer: Life["finalizer"]): Effect.Effect<void, never, Scope.Scope> {
    const ends = {
      ok: Effect.void,
      slow: Effect.sleep("50 millis"),
      hang: Deferred.await(this.release),
      dies: Effect.die("finalizer")
    }[finalizer]
    return Effect.acquireRelease(
      Effect.sync(() => void this.acquired.add(name)),
      () =>
        Effect.zipRight(
          Effect.sync(() => this.finalized.push(name)),
          ends
        )
    )
  }

  /** What the build does besides: what declines to start is the test's own. */
  build(build: Life["build"]): Effect.Effect<unknown> {
    return {
      ok: Effect.void,
      ignore: Effect.void,
      slow: Effect.sleep("100 millis"),
      fail: Effect.die("build"),
      hang: Effect.never,
      "cannot be interrupted": Effect.uninterruptible(Deferred.await(this.release))
    }[build]
  }

  worker(worker: Exclude<Life["worker"], "none">): Effect.Effect<void> {
    return {
      lives: Effect.never,
      "crashes soon": Effect.zipRight(Effect.yieldNow(), Effect.die("worker")),
      "crashes later": Effect.zipRight(Effect.sleep("100 millis"), Effect.die("worker")),
      ends: Effect.interrupt,
      "ignores interruption": Effect.uninterruptible(Deferred.await(this.release))
    }[worker]
  }

  /** What is wrong with the finalizers, when nothing is left to run. */
  get problem(): string | undefined {
    if (new Set(this.finalized).size !== this.finalized.length) return `a finalizer ran twice: ${this.finalized}`
    const missing = Array.from(this.acquired).filter((name) => !this.finalized.includes(name))
    return missing.length === 0 ? undefined : `the finalizers of ${missing} never ran`
  }
}
