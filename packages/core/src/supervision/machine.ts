/**
 * The supervisor as a state machine: an event goes in, the actions that answer it come out. There is no Effect, no clock
 * and no fiber here; the runtime (`supervisor.ts`) performs the actions one after the other and reports back.
 *
 * ```text
 *                 Start ok                     exit, restart wanted
 *   (new) ──────▶ starting ──────▶ up ───────────────────▶ starting, or restarting until Resume if its restarts are delayed
 *                    │              │ exit, not wanted / Terminate
 *                    │ failed       ▼
 *                    ▼            down ──── Restart ─────▶ starting
 *                restarting ── Retry ──▶ starting          Delete ──▶ (forgotten)
 * ```
 *
 * An OTP supervisor handles one message at a time and blocks in a child's start. So does this one: at most one `Start`
 * action is outstanding, it is always the last action of its list, and the next event has to be its answer (`Started`,
 * `Ignored` or `StartFailed`). `Stop` needs no answer: the runtime bounds it.
 *
 * State is changed in place. A persistent one would cost a copy of the child table for each of a hundred thousand starts.
 */
import { Window } from "./window.js"

export type Strategy = "one_for_one" | "one_for_all" | "rest_for_one" | "rest_for_dependents"

export type RestartType = "permanent" | "transient" | "temporary"

export type AutoShutdown = "never" | "anySignificant" | "allSignificant"

/** `normal`: the child finished; `shutdown`: it was asked to stop, or stopped itself in good order; `abnormal`: the rest. */
export type ExitClass = "normal" | "shutdown" | "abnormal"

export interface ChildSpec {
  readonly id: string
  readonly restart: RestartType
  readonly significant: boolean
  /** Whether its restarts wait: then each of them asks for a `Delay` and goes on with `Resume`. */
  readonly delayed?: boolean
  /** Ids of others that it is said to depend on. */
  readonly dependsOn?: ReadonlyArray<string>
}

export type Status = "starting" | "up" | "down" | "restarting"

export interface Child extends Omit<ChildSpec, "id" | "dependsOn"> {
  id: string
  status: Status
  /** Number of the current or last instance: 1 for the first. */
  instance: number
  /** Whether it is `restarting` until a delay is over; otherwise until its retry. */
  waiting: boolean
  /** Whom it reads, and who reads it: what `rest_for_dependents` goes by. */
  readonly dependsOn: Set<Child>
  readonly readers: Set<Child>
}

export type Event =
  /** All children at once, as a list given to a supervisor that starts. A failing one stops the others and the supervisor. */
  | { readonly _tag: "Init"; readonly children: ReadonlyArray<ChildSpec> }
  /** OTP's `start_child`. */
  | { readonly _tag: "StartChild"; readonly child: ChildSpec }
  | { readonly _tag: "Exited"; readonly id: string; readonly instance: number; readonly exit: ExitClass }
  | { readonly _tag: "Retry"; readonly id: string; readonly instance: number }
  /** A delay is over. */
  | { readonly _tag: "Resume"; readonly id: string; readonly instance: number }
  | { readonly _tag: "Terminate"; readonly id: string }
  | { readonly _tag: "Restart"; readonly id: string }
  | { readonly _tag: "Delete"; readonly id: string }
  | { readonly _tag: "Shutdown" }
  | { readonly _tag: "Started" }
  | { readonly _tag: "Ignored" }
  | { readonly _tag: "StartFailed" }

/** What an administration event is answered with. */
export type Reply =
  | "ok"
  | "ignored"
  | "start_failed"
  | "already_started"
  | "already_present"
  | "not_found"
  | "running"
  | "restarting"
  | "noproc"

/** What was decided about a child that exited. */
export type Decision = "restart" | "leave down" | "forget" | "give up" | "auto shutdown"

export type ExitReason = "shutdown" | "failed_to_start"

export type Action =
  | { readonly _tag: "Decide"; readonly id: string; readonly decision: Decision }
  | { readonly _tag: "Stop"; readonly id: string; readonly instance: number }
  | { readonly _tag: "Start"; readonly id: string; readonly instance: number }
  /** The specification is gone. */
  | { readonly _tag: "Forget"; readonly id: string }
  /** Send `Retry` back, after whatever else is waiting. */
  | { readonly _tag: "Retry"; readonly id: string; readonly instance: number }
  /** Send `Resume` back, after a while. */
  | { readonly _tag: "Delay"; readonly id: string; readonly instance: number }
  /** The `Resume` that was asked for is not wanted any more. */
  | { readonly _tag: "CancelDelay"; readonly id: string }
  | { readonly _tag: "Reply"; readonly reply: Reply }
  | { readonly _tag: "Exit"; readonly reason: ExitReason; readonly id: string | undefined }

/** What the outstanding start belongs to. */
type Pending =
  | { readonly _tag: "Init"; readonly id: string; readonly ids: ReadonlyArray<string>; readonly next: number }
  | { readonly _tag: "Group"; readonly id: string; readonly ids: ReadonlyArray<string>; readonly next: number }
  | { readonly _tag: "StartChild"; readonly id: string }
  | { readonly _tag: "Restart"; readonly id: string }

export interface Options {
  readonly strategy: Strategy
  /** How many restarts are allowed inside `period`; one more gives up. */
  readonly intensity: number
  /** Milliseconds. A restart exactly this long ago still counts. */
  readonly period: number
  readonly autoShutdown: AutoShutdown
}

export interface Machine {
  readonly options: Options
  /** In start order. */
  readonly children: Map<string, Child>
  readonly restarts: Window
  pending: Pending | undefined
  closed: boolean
}

export const make = (options: Options): Machine => ({
  options,
  children: new Map(),
  restarts: new Window(options.period),
  pending: undefined,
  closed: false
})

/** How many restarts count against the intensity at `now`. */
export const intensityUsed = (machine: Machine, now: number): number => machine.restarts.countAt(now)

/**
 * Gives a child that has just been started another id, in place. The default id is made from what the child's layer
 * provides, which is known only after it was built. Answers false if the id is taken.
 */
export const rename = (machine: Machine, from: string, to: string): boolean => {
  const child = machine.children.get(from)
  if (child === undefined || machine.children.has(to)) return false
  // Starts come one at a time, so the renamed child is the last one and keeps its place in the start order.
  machine.children.delete(from)
  child.id = to
  machine.children.set(to, child)
  if (machine.pending?.id === from) machine.pending = { ...machine.pending, id: to }
  return true
}

/**
 * Writes down that a child reads a service of another one. It stays written down for as long as both are known: an instance
 * that has not read anything yet may still do so. Answers false if that was known, or if one of the two is not a child.
 */
export const depend = (machine: Machine, reader: string, on: string): boolean => {
  const [from, to] = [machine.children.get(reader), machine.children.get(on)]
  if (from === undefined || to === undefined || from === to || from.dependsOn.has(to)) return false
  from.dependsOn.add(to)
  to.readers.add(from)
  return true
}

/** Answers one event at time `now` (milliseconds of a clock that does not go back). */
export const handle = (machine: Machine, event: Event, now: number): ReadonlyArray<Action> => {
  const out: Array<Action> = []
  const pending = machine.pending
  if (pending !== undefined) {
    machine.pending = undefined
    answered(machine, pending, event, out)
    return out
  }
  if (machine.closed) {
    if (isCall(event)) out.push({ _tag: "Reply", reply: "noproc" })
    return out
  }
  switch (event._tag) {
    case "Init": {
      for (const spec of event.children) add(machine, spec)
      startNext(machine, "Init", Array.from(machine.children.keys()), 0, out)
      return out
    }
    case "StartChild": {
      const known = machine.children.get(event.child.id)
      if (known !== undefined) {
        out.push({ _tag: "Reply", reply: known.status === "up" ? "already_started" : "already_present" })
        return out
      }
      start(machine, { _tag: "StartChild", id: add(machine, event.child).id }, out)
      return out
    }
    case "Exited": {
      const child = machine.children.get(event.id)
      // An exit of an instance that was stopped in the meantime: whoever stopped it has dealt with it.
      if (child === undefined || child.status !== "up" || child.instance !== event.instance) return out
      exited(machine, child, event.exit, now, out)
      return out
    }
    case "Retry": {
      const child = machine.children.get(event.id)
      if (isAwaited(child, event) && !child.waiting) restart(machine, child, now, out)
      return out
    }
    case "Resume": {
      const child = machine.children.get(event.id)
      if (isAwaited(child, event) && child.waiting) startGroup(machine, child, groupOf(machine, child), out)
      return out
    }
    case "Terminate": {
      const child = machine.children.get(event.id)
      if (child !== undefined) stop(machine, child, out)
      out.push({ _tag: "Reply", reply: child === undefined ? "not_found" : "ok" })
      return out
    }
    case "Restart": {
      const child = machine.children.get(event.id)
      if (child?.status === "down") start(machine, { _tag: "Restart", id: child.id }, out)
      else out.push({ _tag: "Reply", reply: refusal(child) })
      return out
    }
    case "Delete": {
      const child = machine.children.get(event.id)
      if (child?.status === "down") {
        forget(machine, child, out)
        out.push({ _tag: "Reply", reply: "ok" })
      } else out.push({ _tag: "Reply", reply: refusal(child) })
      return out
    }
    case "Shutdown": {
      exit(machine, "shutdown", undefined, out)
      return out
    }
    case "Started":
    case "Ignored":
    case "StartFailed":
      // An answer that nobody waits for, because the supervisor was shut down by the one before it.
      return out
  }
}

/** Table 1.2: what one exit means. */
const exited = (machine: Machine, child: Child, how: ExitClass, now: number, out: Array<Action>): void => {
  child.status = "down"
  if (child.restart === "permanent" || (child.restart === "transient" && how === "abnormal")) {
    restart(machine, child, now, out)
    return
  }
  const ends = endsSupervisor(machine, child)
  out.push({
    _tag: "Decide",
    id: child.id,
    decision: ends ? "auto shutdown" : child.restart === "temporary" ? "forget" : "leave down"
  })
  if (child.restart === "temporary") forget(machine, child, out)
  if (ends) exit(machine, "shutdown", child.id, out)
}

const endsSupervisor = (machine: Machine, child: Child): boolean => {
  if (!child.significant) return false
  switch (machine.options.autoShutdown) {
    case "never":
      return false
    case "anySignificant":
      return true
    case "allSignificant": {
      for (const other of machine.children.values()) {
        if (other.significant && other.status !== "down") return false
      }
      return true
    }
  }
}

/** Table 1.3 under the window of 1.4: one restart costs one unit, however many siblings it takes along. */
const restart = (machine: Machine, child: Child, now: number, out: Array<Action>): void => {
  child.status = "down"
  if (machine.restarts.add(now) > machine.options.intensity) {
    out.push({ _tag: "Decide", id: child.id, decision: "give up" })
    exit(machine, "shutdown", child.id, out)
    return
  }
  out.push({ _tag: "Decide", id: child.id, decision: "restart" })
  const group = groupOf(machine, child)
  // A delay that runs for somebody in the group is not cut short by the restart of another one.
  if (child.delayed !== true && !group.some((id) => machine.children.get(id)?.waiting === true)) {
    startGroup(machine, child, group, out)
    return
  }
  // Those who would be stopped are stopped now: what they are stopped for, and perhaps need, is down already.
  stopAll(machine, group, out)
  child.status = "restarting"
  child.waiting = true
  out.push({ _tag: "Delay", id: child.id, instance: child.instance })
}

/** Stops whoever of a child's group is up, in reverse, and starts all of it. */
const startGroup = (machine: Machine, child: Child, group: ReadonlyArray<string>, out: Array<Action>): void => {
  child.status = "down"
  child.waiting = false
  stopAll(machine, group, out)
  const ids = group.filter((id) => machine.children.has(id))
  startNext(machine, "Group", ids, 0, out)
}

/** Who is restarted with a child, in start order, itself included. */
const groupOf = (machine: Machine, child: Child): ReadonlyArray<string> => {
  if (machine.options.strategy === "one_for_one") return [child.id]
  if (machine.options.strategy === "rest_for_dependents") {
    const group = withReaders(child)
    if (group.size === 1) return [child.id]
    return Array.from(machine.children.values())
      .filter((other) => group.has(other))
      .map((other) => other.id)
  }
  const ids = Array.from(machine.children.keys())
  return machine.options.strategy === "one_for_all" ? ids : ids.slice(ids.indexOf(child.id))
}

/** A child and whoever reads it, directly or through others. */
const withReaders = (child: Child): ReadonlySet<Child> => {
  // A set is walked in the order in which it was filled, what is added on the way included.
  const group = new Set([child])
  for (const member of group) for (const reader of member.readers) group.add(reader)
  return group
}

/** The answer to the outstanding start. */
const answered = (machine: Machine, pending: Pending, event: Event, out: Array<Action>): void => {
  const child = machine.children.get(pending.id)
  if (child === undefined) return
  switch (event._tag) {
    case "Started": {
      child.status = "up"
      break
    }
    case "Ignored": {
      child.status = "down"
      if (child.restart === "temporary") forget(machine, child, out)
      break
    }
    case "StartFailed": {
      startFailed(machine, pending, child, out)
      return
    }
    default: {
      // A programming error of the runtime: the protocol allows nothing else here.
      throw new Error(`supervisor: ${event._tag} arrived while the start of ${pending.id} was outstanding`)
    }
  }
  if (pending._tag === "Init" || pending._tag === "Group")
    startNext(machine, pending._tag, pending.ids, pending.next, out)
  else out.push({ _tag: "Reply", reply: event._tag === "Started" ? "ok" : "ignored" })
}

/** Table 1.5: a start that fails means something else for each of those who asked for it. */
const startFailed = (machine: Machine, pending: Pending, child: Child, out: Array<Action>): void => {
  child.status = "down"
  switch (pending._tag) {
    case "Init": {
      exit(machine, "failed_to_start", child.id, out)
      return
    }
    case "StartChild": {
      forget(machine, child, out)
      out.push({ _tag: "Reply", reply: "start_failed" })
      return
    }
    case "Restart": {
      out.push({ _tag: "Reply", reply: "start_failed" })
      return
    }
    case "Group": {
      // Those before it stay up, those after it stay down until the retry, which is a new restart of this child.
      child.status = "restarting"
      out.push({ _tag: "Retry", id: child.id, instance: child.instance })
      if (machine.options.strategy !== "rest_for_dependents") return
      // Its retry takes along its readers, and nobody else: the others would be left down if they were not started now.
      const held = withReaders(child)
      const rest = pending.ids.slice(pending.next).filter((id) => {
        const other = machine.children.get(id)
        return other !== undefined && !held.has(other)
      })
      startNext(machine, "Group", rest, 0, out)
      return
    }
  }
}

const add = (machine: Machine, spec: ChildSpec): Child => {
  const child: Child = {
    id: spec.id,
    restart: spec.restart,
    significant: spec.significant,
    delayed: spec.delayed ?? false,
    status: "down",
    instance: 0,
    waiting: false,
    dependsOn: new Set(),
    readers: new Set()
  }
  machine.children.set(child.id, child)
  for (const on of spec.dependsOn ?? []) depend(machine, child.id, on)
  return child
}

const start = (machine: Machine, pending: Pending, out: Array<Action>): void => {
  const child = machine.children.get(pending.id)
  if (child === undefined) return
  child.status = "starting"
  child.instance++
  machine.pending = pending
  out.push({ _tag: "Start", id: child.id, instance: child.instance })
}

const startNext = (
  machine: Machine,
  tag: "Init" | "Group",
  ids: ReadonlyArray<string>,
  from: number,
  out: Array<Action>
): void => {
  const id = ids[from]
  if (id !== undefined) start(machine, { _tag: tag, id, ids, next: from + 1 }, out)
}

/** Stops one child as part of something bigger: never counted, never a reason for auto-shutdown. */
const stop = (machine: Machine, child: Child, out: Array<Action>): void => {
  if (child.status === "up") out.push({ _tag: "Stop", id: child.id, instance: child.instance })
  if (child.waiting) out.push({ _tag: "CancelDelay", id: child.id })
  child.waiting = false
  child.status = "down"
  if (child.restart === "temporary") forget(machine, child, out)
}

const stopAll = (machine: Machine, ids: ReadonlyArray<string>, out: Array<Action>): void => {
  for (let i = ids.length - 1; i >= 0; i--) {
    const child = machine.children.get(ids[i] ?? "")
    if (child !== undefined) stop(machine, child, out)
  }
}

const forget = (machine: Machine, child: Child, out: Array<Action>): void => {
  machine.children.delete(child.id)
  for (const other of child.dependsOn) other.readers.delete(child)
  for (const other of child.readers) other.dependsOn.delete(child)
  out.push({ _tag: "Forget", id: child.id })
}

const exit = (machine: Machine, reason: ExitReason, id: string | undefined, out: Array<Action>): void => {
  machine.closed = true
  stopAll(machine, Array.from(machine.children.keys()), out)
  out.push({ _tag: "Exit", reason, id })
}

/** Whether a letter about a child's restart is about the one that it waits for, and not an older one. */
const isAwaited = (child: Child | undefined, { instance }: { readonly instance: number }): child is Child =>
  child?.status === "restarting" && child.instance === instance

const refusal = (child: Child | undefined): Reply =>
  child === undefined ? "not_found" : child.status === "restarting" ? "restarting" : "running"

const isCall = (event: Event): boolean =>
  event._tag === "StartChild" || event._tag === "Terminate" || event._tag === "Restart" || event._tag === "Delete"
