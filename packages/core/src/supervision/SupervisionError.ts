/**
 * What supervision fails and dies with.
 *
 * `SupervisorShutdown` is a failure: whoever launched the tree can act on it. The others reach callers of a supervised
 * service as defects, because the service's own error types do not name them.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"

/**
 * The end of a supervisor: it gave up after too many restarts (`"intensity"`), a significant child ended, or its scope was
 * closed. `"defect"` is a bug in the supervisor itself, reported rather than left hanging.
 *
 * `restarts` is how many restarts had been counted against the intensity, `cause` the one of the last exit.
 *
 * @since 0.1.0
 * @category errors
 */
export class SupervisorShutdown extends Data.TaggedError("SupervisorShutdown")<{
  readonly path: string
  readonly childId: string | undefined
  readonly reason: "intensity" | "significant" | "closed" | "defect"
  readonly restarts: number
  readonly cause: Cause.Cause<unknown>
}> {
  override get message(): string {
    switch (this.reason) {
      case "intensity":
        return `supervisor "${this.path}" gave up: child "${this.childId}" needed restart number ${this.restarts} inside the period, which is more than the intensity allows`
      case "significant":
        return `supervisor "${this.path}" shut down: its significant child "${this.childId}" ended`
      case "closed":
        return `supervisor "${this.path}" is closed: the scope it was built in has ended, so its services cannot be used any more`
      default:
        return `supervisor "${this.path}" failed itself, which is a bug in it: ${Cause.pretty(this.cause)}`
    }
  }
}

/**
 * The defect of a call whose instance died before it answered. The call may or may not have taken effect; it was not
 * repeated on the next instance.
 *
 * @since 0.1.0
 * @category errors
 */
export class InstanceDied extends Data.TaggedError("InstanceDied")<{
  readonly path: string
  readonly instance: number
}> {
  override get message(): string {
    return `instance ${this.instance} of "${this.path}" died before it answered this call; a new call reaches the next instance`
  }
}

/**
 * The defect of a call to a child that is down: it did not come up within the time that `whenDown` allows, or will not
 * come up at all. `waited` is in milliseconds.
 *
 * `holding` is the path of a child whose build, or stop, makes the call while the supervisor waits for just that before it can
 * start the child that is down. Such a call dies at once. A build that fails of it is tried again when the other child is up.
 *
 * @since 0.1.0
 * @category errors
 */
export class ChildDown extends Data.TaggedError("ChildDown")<{
  readonly path: string
  readonly waited: number
  readonly holding?: string
}> {
  override get message(): string {
    if (this.holding !== undefined) {
      return `"${this.path}" is down, and to wait for it would deadlock: its supervisor first waits for "${this.holding}", whose build or stop makes this call`
    }
    return `"${this.path}" is down: this call waited ${this.waited} ms for it to come up (option whenDown)`
  }
}

/**
 * What an instance has crashed of that did not pass the check of its `heartbeat`: it failed with `cause`, or took longer than
 * `after`, in milliseconds.
 *
 * @since 0.1.0
 * @category errors
 */
export class HeartbeatFailed extends Data.TaggedError("HeartbeatFailed")<{
  readonly path: string
  readonly instance: number
  readonly after: number | undefined
  readonly cause: Cause.Cause<unknown>
}> {
  override get message(): string {
    const { after, cause, instance, path } = this
    return after === undefined
      ? `instance ${instance} of "${path}" failed its heartbeat: ${Cause.pretty(cause)}`
      : `instance ${instance} of "${path}" did not answer its heartbeat within ${after} ms`
  }
}

/**
 * The defect of a tree that was put together wrongly: a number outside its range, two children of one id.
 *
 * @since 0.1.0
 * @category errors
 */
export class SupervisorConfigError extends Data.TaggedError("SupervisorConfigError")<{
  readonly path: string
  readonly problem: string
}> {
  override get message(): string {
    return `supervisor "${this.path}": ${this.problem}`
  }
}

/**
 * An administration call that was refused.
 *
 * - `"not found"`: no child has this path. A temporary child is forgotten when it ends.
 * - `"running"`, `"restarting"`: the child is not down, which `start` and `remove` need.
 * - `"start failed"`: the child could not be built; `cause` says why. It is down.
 * - `"closed"`: its supervisor has ended.
 * - `"dynamic"`: the child is one of a dynamic supervisor, which by path can only be asked to `terminate` it.
 * - `"would deadlock"`: the call came from the build of a child, for which the supervisor is waiting.
 *
 * @since 0.1.0
 * @category errors
 */
export class ControlError extends Data.TaggedError("ControlError")<{
  readonly path: string
  readonly operation: "start" | "terminate" | "restart" | "remove"
  readonly reason: "not found" | "running" | "restarting" | "start failed" | "closed" | "dynamic" | "would deadlock"
  readonly cause: Cause.Cause<unknown>
}> {
  override get message(): string {
    return `could not ${this.operation} "${this.path}": ${explanations[this.reason]}`
  }
}

const explanations: { readonly [K in ControlError["reason"]]: string } = {
  "not found": "there is no child of this path",
  running: "it is running; terminate it first",
  restarting: "it is being restarted; terminate it first",
  "start failed": "its layer could not be built",
  closed: "its supervisor has ended",
  dynamic:
    "it is a child of a dynamic supervisor, which keeps no specification of it; ask that (DynamicSupervisor: start, terminate, find)",
  "would deadlock":
    "its supervisor is waiting for the build that makes this call; make it after the build, from a forked fiber"
}
