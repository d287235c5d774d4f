/** What starting and stopping a dynamic child fails with. */
import * as Data from "effect/Data"
import type { Child } from "./DynamicSupervisor.js"

/**
 * The failure of a start when a child of the same id lives. `child` is that one.
 *
 * @since 0.1.0
 * @category errors
 */
export class AlreadyStarted<out Handle> extends Data.TaggedError("AlreadyStarted")<{
  readonly path: string
  readonly child: Child<unknown>
}> {
  declare readonly child: Child<Handle>
  override get message(): string {
    return `a child "${this.path}" is already there: use it (field "child"), terminate it first, or start another one under another id`
  }
}

/**
 * The failure of a start when there are as many children as there may be.
 *
 * @since 0.1.0
 * @category errors
 */
export class MaxChildren extends Data.TaggedError("MaxChildren")<{
  readonly path: string
  readonly maxChildren: number
}> {
  override get message(): string {
    return `"${this.path}" has ${this.maxChildren} children, as many as it may have (option maxChildren); terminate one first`
  }
}

/**
 * The failure of a start when somebody else terminated the child before it was up.
 *
 * @since 0.1.0
 * @category errors
 */
export class Terminated extends Data.TaggedError("Terminated")<{ readonly path: string }> {
  override get message(): string {
    return `the child "${this.path}" was terminated before it was up; start it again if it is still wanted`
  }
}

/**
 * The failure of `terminate` when the child is not, or no longer, one of this supervisor.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotFound extends Data.TaggedError("NotFound")<{
  readonly path: string
  readonly id: string
}> {
  override get message(): string {
    return `"${this.path}" has no child "${this.id}": it has ended, or was never there`
  }
}

/**
 * What a child's Effect fails with to say that there is nothing to start: OTP's `ignore`. The start fails with it, and at a restart
 * the child is forgotten. Neither is counted.
 *
 * @since 0.1.0
 * @category errors
 */
export class Ignored extends Data.TaggedError("Ignored")<{ readonly reason?: string }> {
  override get message(): string {
    return `the child declined to start${this.reason === undefined ? "" : `: ${this.reason}`}`
  }
}
