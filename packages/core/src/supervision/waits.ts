/**
 * Who waits for whom, so that nobody waits for itself: a build, or a finalizer, that waits for another child holds up whoever waits
 * for it, first of all the supervisor that runs it. A wait that could only end when it has ended is not begun.
 *
 * ```text
 *   build of b ──calls──▶ a, which is down ──started by──▶ app ──waits for──▶ build of b          refused at once
 * ```
 *
 * Not every fiber of a build holds it up: a worker that it has forked may wait as long as it likes. One that the build itself waits
 * for does (both sides of a race, a fork that is joined), and that shows in what its fiber is suspended on.
 */
import * as Context from "effect/Context"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as HashSet from "effect/HashSet"
import { CurrentInstance } from "./currentinstance.js"
import { hostOf } from "./guard.js"
import type { Instance } from "./instance.js"

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

/** What a child that is down waits for: what is built or closed before it can be up, by whoever starts it. */
export interface Holder {
  readonly holding: Instance | undefined
}

/** What builds and finalizers of an instance wait for now, each as often as it is waited for. */
const waits = new WeakMap<Instance, Array<Holder>>()

/** It holds up whoever builds or closes it. */
export const isBusy = (instance: Instance): boolean => instance.isClosing || instance.state === "building"

/** The instances that are built or closed around a call, from the inside out. */
const around = (caller: AnyFiber): ReadonlyArray<Instance> => {
  const held: Array<Instance> = []
  let at: Instance | undefined = Context.get(caller.getFiberRef(FiberRef.currentContext), CurrentInstance)
  while (at !== undefined && isBusy(at)) {
    held.push(at)
    // Whoever built it is a supervisor, static or dynamic, and has this field.
    at = (at.owner as { readonly parent: Instance | undefined }).parent
  }
  return held
}

/** What a fiber is suspended on. Not in the public types, which tell it only after a turn; checked before it is used. */
const suspendedOn = (fiber: AnyFiber): FiberId.FiberId | undefined => {
  const { _asyncBlockingOn: on } = fiber as unknown as { readonly _asyncBlockingOn?: unknown }
  return FiberId.isFiberId(on) ? on : undefined
}

/** Whether a build goes on only when this fiber does. */
const isAwaited = (id: unknown, at: Instance, seen: Set<AnyFiber>): boolean => {
  if (at.builder === undefined || id === at.builder.id()) return at.builder !== undefined
  for (const fiber of [at.builder, ...at.tracker.alive]) {
    const on = seen.has(fiber) ? undefined : suspendedOn(fiber)
    if (on === undefined || !HashSet.some(FiberId.toSet(on), (part) => part === id)) continue
    seen.add(fiber)
    if (isAwaited(hostOf(fiber), at, seen)) return true
  }
  return false
}

/** A call from a build or a finalizer, for as long as it waits. */
export class Wait {
  private noted = false
  private readonly forget: Array<() => void> = []

  private constructor(
    private readonly caller: AnyFiber,
    private readonly target: Holder,
    private readonly held: ReadonlyArray<Instance>
  ) {}

  /** Nothing for a caller that nobody waits for. */
  static of(caller: AnyFiber, target: Holder): Wait | undefined {
    const held = around(caller)
    return held.length === 0 ? undefined : new Wait(caller, target, held)
  }

  /**
   * Looks whether it would wait for ever: then answers with the instance around the call that it would wait for. Otherwise it is
   * noted, in the step in which it was looked, for others to find.
   */
  look(): Instance | undefined {
    if (!this.noted && !this.isPart) return undefined
    const found = this.reached(this.target, new Set())
    if (found !== undefined || this.noted) return found
    this.noted = true
    for (const instance of this.held) {
      const list = waits.get(instance)
      if (list === undefined) waits.set(instance, [this.target])
      else list.push(this.target)
    }
    return undefined
  }

  /** Calls `again` whenever a fiber of the build that is no part of it yet may have become one. */
  onChange(again: () => void): void {
    if (!this.noted) for (const { tracker } of this.held) this.forget.push(tracker.onSuspended(again))
  }

  end(): void {
    for (const forget of this.forget) forget()
    if (!this.noted) return
    for (const instance of this.held) {
      const list = waits.get(instance)
      const index = list?.indexOf(this.target) ?? -1
      if (index >= 0) list?.splice(index, 1)
    }
  }

  /** Whatever runs while an instance is stopped may hold that up. */
  private get isPart(): boolean {
    const host = hostOf(this.caller)
    return this.held.some((at) => at.isClosing || isAwaited(host, at, new Set()))
  }

  private reached(holder: Holder, seen: Set<Instance>): Instance | undefined {
    const instance = holder.holding
    if (instance === undefined || seen.has(instance)) return undefined
    if (this.held.includes(instance)) return instance
    seen.add(instance)
    for (const next of waits.get(instance) ?? []) {
      const found = this.reached(next, seen)
      if (found !== undefined) return found
    }
    return undefined
  }
}
