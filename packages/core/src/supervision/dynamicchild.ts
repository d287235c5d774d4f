/**
 * A dynamic child at run time: the record that the machine keeps, and what its users hold. One object serves as both, for there
 * may be a hundred thousand of them.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Child, Refusal, Status } from "./dynamicmachine.js"
import * as Handle from "./handle.js"
import { type Instance, Slot, type WhenDown } from "./instance.js"
import type { RestartType } from "./machine.js"
import { type Holder, isBusy } from "./waits.js"

export interface ChildSettings {
  readonly restart: RestartType
  /** Milliseconds. Without one it depends on what the child is. */
  readonly shutdown: number | "brutalKill" | "infinity" | undefined
  /** Milliseconds. */
  readonly startTimeout: number | undefined
  readonly whenDown: WhenDown
}

/** Children that began to stop together and have the same time for it. */
export interface Patience {
  readonly children: Set<DynamicChild>
  cancel: () => void
}

/** One close of an instance, for as long as it is waited for. */
export interface Close {
  patience: Patience | undefined
  /** What closes it. */
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined
}

/** The key in an instance's context under which it has what the child's Effect answered with. */
export const serviceKey = "@effecto/core/supervision/dynamic"

export class DynamicChild<out Handle = unknown> implements Child, Holder {
  status: Status = "starting"
  number = 0
  readonly slot: Slot
  /** The instance whose scope is not closed yet. */
  instance: Instance | undefined = undefined
  /** The build that is under way. */
  build: Fiber.RuntimeFiber<unknown, unknown> | undefined = undefined
  /** The close that is under way. */
  closing: Close | undefined = undefined
  /** How many instances came up. */
  starts = 0
  orphaned = 0
  /** Starts that are to fail, with these causes, instead of being tried: for tests. */
  failures: Array<Cause.Cause<unknown>> | undefined = undefined
  /** Number of the last instance that ended by itself. */
  lastExit = 0
  /** Why the last instance ended, or the last start failed. */
  cause: Cause.Cause<unknown> = Cause.empty
  happened: "crashed" | "ended" | "failed to start" = "ended"
  refused: { readonly refusal: Refusal; readonly other: DynamicChild | undefined } | undefined = undefined
  private handle: Handle | undefined = undefined

  constructor(
    readonly id: string,
    path: string,
    readonly settings: ChildSettings,
    /** What it is started with, for as long as it may be started again. */
    public arg: unknown
  ) {
    this.slot = new Slot(path, settings.whenDown)
    this.slot.holder = this
  }

  get holding(): Instance | undefined {
    const { instance } = this
    return instance !== undefined && isBusy(instance) ? instance : undefined
  }

  get restart(): RestartType {
    return this.settings.restart
  }

  get path(): string {
    return this.slot.path
  }

  /** A tree in it makes it a supervisor. */
  get isSupervisor(): boolean {
    return (this.instance ?? this.slot.last)?.isSupervisor === true
  }

  get shutdown(): number | "brutalKill" | "infinity" {
    return this.settings.shutdown ?? (this.isSupervisor ? "infinity" : 5000)
  }

  get service(): Handle {
    if (this.handle === undefined) {
      const instance = this.slot.current ?? this.slot.last
      if (instance === undefined) throw this.slot.unavailable
      // What the instances hold under this key is what the child's Effect answers with: a `Handle`.
      this.handle = Handle.make(this.slot, serviceKey, serviceOf(instance)) as Handle
    }
    return this.handle
  }

  get current(): Effect.Effect<Handle> {
    // As above.
    return Effect.map(this.slot.awaitUp, (instance) => serviceOf(instance) as Handle)
  }

  toString(): string {
    return `DynamicChild(${this.path}#${this.number})`
  }

  toJSON(): unknown {
    return { _id: "DynamicChild", path: this.path, instance: this.number, status: this.status }
  }

  [Symbol.for("nodejs.util.inspect.custom")](): unknown {
    return this.toJSON()
  }
}

export const serviceOf = (instance: Instance): unknown => instance.context.unsafeMap.get(serviceKey)
