/**
 * The dynamic supervisor as a state machine: an event goes in, the actions that answer it come out. There is no Effect, no clock
 * and no fiber here; the runtime (`dynamicruntime.ts`) performs the actions and reports back.
 *
 * ```text
 *   Start ─▶ starting ─▶ up ─ Exited, to be restarted ─▶ closing ─ Stopped ─▶ restarting ─▶ up
 *              │          │                                │ Terminate          │ StartFailed
 *              │ failed   │ Terminate, Shutdown, or        │                    ▼
 *              │          │ Exited and done with           │                 waiting ─ Retry ─▶ restarting
 *              ▼          ▼                                ▼                    │ Terminate
 *            gone ◀──── stopping ◀───────────────────────────                   ▼
 *                 Stopped                                                      gone
 * ```
 *
 * It differs from the machine of a static supervisor (`machine.ts`) in what a dynamic one is for: many children that know
 * nothing of each other. So nothing has an order, starts and stops go on side by side, and a child that ends for good is
 * forgotten. `Start` is answered with `Started`, `StartFailed` or `Ignored`, and `Stop` with `Stopped`; a `Stop` that comes
 * before the answer to a `Start` takes its place.
 *
 * State is changed in place, and a child is known by its record: one that is started under the id of one that is gone is
 * another child, and what is still said of the first one does not concern it.
 */
import type { ExitClass, RestartType } from "./machine.js"
import { Window } from "./window.js"

export type Status = "starting" | "up" | "closing" | "restarting" | "waiting" | "stopping" | "gone"

export interface Child {
  readonly id: string
  readonly restart: RestartType
  status: Status
  /** Number of the current or last instance: 1 for the first. */
  number: number
}

export type Event<C extends Child> =
  | { readonly _tag: "Start"; readonly child: C }
  | { readonly _tag: "Started" | "StartFailed" | "Ignored" | "Stopped" | "Retry" | "Terminate"; readonly child: C }
  | { readonly _tag: "Exited"; readonly child: C; readonly number: number; readonly exit: ExitClass }
  /** Nothing is started or restarted any more. What is up stays up. */
  | { readonly _tag: "Close" }
  | { readonly _tag: "Shutdown" }

/** Why a child was not started. `busy`: the one that has its id is not up yet, or not gone yet. */
export type Refusal = "closed" | "already started" | "busy" | "max children"

export type Decision = "restart" | "forget" | "give up"

export type Action<C extends Child> =
  | { readonly _tag: "Refuse"; readonly child: C; readonly refusal: Refusal; readonly other: C | undefined }
  | { readonly _tag: "Decide"; readonly child: C; readonly decision: Decision }
  | { readonly _tag: "Start"; readonly child: C }
  | { readonly _tag: "Stop"; readonly child: C }
  /** What is being stopped will not be started again: nobody need wait for it. */
  | { readonly _tag: "Release"; readonly child: C }
  /** Send `Retry` back, after whatever else is waiting. */
  | { readonly _tag: "Retry"; readonly child: C }
  | { readonly _tag: "Forget"; readonly child: C }
  /** Nothing is left. `child` is the one that it gave up on, if it did. */
  | { readonly _tag: "Exit"; readonly child: C | undefined }

export interface Options {
  /** How many restarts are allowed inside `period`; one more gives up. */
  readonly intensity: number
  /** Milliseconds. A restart exactly this long ago still counts. */
  readonly period: number
  /** How many children there may be, in whatever state. */
  readonly maxChildren: number
}

export interface Machine<C extends Child> {
  readonly options: Options
  readonly children: Map<string, C>
  readonly restarts: Window
  /** How many children are up. */
  up: number
  /** Nothing is started any more. */
  closed: boolean
  /** Everything has been told to stop. */
  ending: boolean
  gaveUpOn: C | undefined
}

export const make = <C extends Child>(options: Options): Machine<C> => ({
  options,
  children: new Map(),
  restarts: new Window(options.period),
  up: 0,
  closed: false,
  ending: false,
  gaveUpOn: undefined
})

/** How many restarts count against the intensity at `now`. */
export const intensityUsed = <C extends Child>(machine: Machine<C>, now: number): number =>
  machine.restarts.countAt(now)

/** Answers one event at time `now` (milliseconds of a clock that does not go back). */
export const handle = <C extends Child>(
  machine: Machine<C>,
  event: Event<C>,
  now: number
): ReadonlyArray<Action<C>> => {
  const out: Array<Action<C>> = []
  switch (event._tag) {
    case "Start": {
      start(machine, event.child, out)
      break
    }
    case "Started": {
      if (!isStarting(event.child)) break
      event.child.status = "up"
      machine.up++
      break
    }
    case "StartFailed": {
      const { child } = event
      // Whoever asked for a first start is told, and may ask again. A restart has nobody but us.
      if (child.status === "starting") forget(machine, child, out)
      else if (child.status === "restarting") {
        child.status = "waiting"
        out.push({ _tag: "Retry", child })
      }
      break
    }
    case "Ignored": {
      if (isStarting(event.child)) forget(machine, event.child, out)
      break
    }
    case "Exited": {
      const { child, exit, number } = event
      // If it was stopped in the meantime, whoever stopped it has dealt with it.
      if (child.status === "up" && child.number === number) exited(machine, child, exit, now, out)
      break
    }
    case "Stopped": {
      const { child } = event
      if (child.status === "closing" && !machine.closed) begin(child, "restarting", out)
      else if (child.status === "closing" || child.status === "stopping") forget(machine, child, out)
      break
    }
    case "Retry": {
      const { child } = event
      if (child.status !== "waiting") break
      if (machine.closed) forget(machine, child, out)
      else if (allowed(machine, child, now, out)) begin(child, "restarting", out)
      break
    }
    case "Terminate": {
      stop(machine, event.child, out)
      break
    }
    case "Close": {
      machine.closed = true
      break
    }
    case "Shutdown": {
      if (!machine.ending) stopAll(machine, out)
      break
    }
  }
  return out
}

const start = <C extends Child>(machine: Machine<C>, child: C, out: Array<Action<C>>): void => {
  const other = machine.children.get(child.id)
  const refusal = machine.closed
    ? "closed"
    : other !== undefined
      ? other.status === "starting" || other.status === "stopping"
        ? "busy"
        : "already started"
      : machine.children.size >= machine.options.maxChildren
        ? "max children"
        : undefined
  if (refusal !== undefined) {
    child.status = "gone"
    out.push({ _tag: "Refuse", child, refusal, other })
    return
  }
  machine.children.set(child.id, child)
  begin(child, "starting", out)
}

const begin = <C extends Child>(child: C, status: "starting" | "restarting", out: Array<Action<C>>): void => {
  child.status = status
  child.number++
  out.push({ _tag: "Start", child })
}

/** What one exit means. A child that is not restarted is forgotten: there is no specification to keep. */
const exited = <C extends Child>(
  machine: Machine<C>,
  child: C,
  exit: ExitClass,
  now: number,
  out: Array<Action<C>>
): void => {
  const wanted = child.restart === "permanent" || (child.restart === "transient" && exit === "abnormal")
  if (wanted && !machine.closed) {
    if (!allowed(machine, child, now, out)) return
    machine.up--
    child.status = "closing"
  } else {
    machine.up--
    child.status = "stopping"
    out.push({ _tag: "Decide", child, decision: "forget" })
  }
  out.push({ _tag: "Stop", child })
}

/** Counts one restart. Answers false if that was one too many: then it is all over. */
const allowed = <C extends Child>(machine: Machine<C>, child: C, now: number, out: Array<Action<C>>): boolean => {
  if (machine.restarts.add(now) <= machine.options.intensity) {
    out.push({ _tag: "Decide", child, decision: "restart" })
    return true
  }
  out.push({ _tag: "Decide", child, decision: "give up" })
  machine.gaveUpOn = child
  stopAll(machine, out)
  return false
}

const stopAll = <C extends Child>(machine: Machine<C>, out: Array<Action<C>>): void => {
  machine.closed = true
  machine.ending = true
  // The last one to be forgotten ends the supervisor; without children nobody would.
  if (machine.children.size === 0) exit(machine, out)
  else for (const child of machine.children.values()) stop(machine, child, out)
}

const stop = <C extends Child>(machine: Machine<C>, child: C, out: Array<Action<C>>): void => {
  switch (child.status) {
    case "starting":
    case "restarting":
    case "up": {
      if (child.status === "up") machine.up--
      child.status = "stopping"
      out.push({ _tag: "Stop", child })
      break
    }
    case "closing": {
      // It is being stopped already.
      child.status = "stopping"
      out.push({ _tag: "Release", child })
      break
    }
    case "waiting": {
      forget(machine, child, out)
      break
    }
  }
}

const forget = <C extends Child>(machine: Machine<C>, child: C, out: Array<Action<C>>): void => {
  child.status = "gone"
  machine.children.delete(child.id)
  out.push({ _tag: "Forget", child })
  if (machine.ending && machine.children.size === 0) exit(machine, out)
}

const exit = <C extends Child>(machine: Machine<C>, out: Array<Action<C>>): void => {
  out.push({ _tag: "Exit", child: machine.gaveUpOn })
}

const isStarting = (child: Child): boolean => child.status === "starting" || child.status === "restarting"
