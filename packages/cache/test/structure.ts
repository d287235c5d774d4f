/** The oracle for what a cache holds beside its entries: asked after each scenario, so that nothing outlives what it was kept for. */
import { Effect, type Scope } from "effect"
import type { Cache } from "../src/Cache.js"
import { commandsOf } from "../src/commands.js"
import { type Service, type Settings, start } from "../src/service.js"
import type { Succession } from "../src/succession.js"

export interface Opened<K, V, E> {
  readonly cache: Cache<K, V, E>
  readonly service: Service<K, V, E>
}

/** A cache with its inside in view. */
export const open = <K, V, E>(
  settings: Omit<Settings<K, V, E>, "name">,
  succession?: Succession<K>
): Effect.Effect<Opened<K, V, E>, never, Scope.Scope> =>
  Effect.map(start<K, V, E>({ name: "opened", ...settings }, succession), (service) => ({
    service,
    cache: commandsOf(service, [])
  }))

/** What is left of a closed cache: nothing. */
export const nothing = {
  entries: 0,
  filed: 0,
  ordered: 0,
  loads: 0,
  absences: 0,
  tagged: 0,
  tags: 0,
  weight: 0,
  inFlight: 0,
  waiters: 0,
  edges: 0,
  background: 0,
  dirty: 0
}

/** What there is of each kind, counted anew. A closed cache has nothing of anything. */
export const structure = <K, V, E>(service: Service<K, V, E>) => {
  const state = service.state.current
  const inFlight = [...service.loader.inFlight]
  const beside = {
    inFlight: inFlight.length,
    waiters: inFlight.reduce((sum, load) => sum + load.waiters.size, 0),
    edges: inFlight.reduce((sum, load) => sum + load.waitsFor.length, 0),
    background: service.background.size,
    dirty: service.dirt.open + service.dirt.size
  }
  if (state._tag === "Closed")
    return { entries: 0, filed: 0, ordered: 0, loads: 0, absences: 0, tagged: 0, tags: 0, weight: 0, ...beside }
  return {
    entries: [...state.entries.all()].length,
    filed: state.entries.expiry.count() + state.absences.expiry.count(),
    ordered: state.policy?.count() ?? 0,
    loads: [...state.loads.values()].length,
    absences: [...state.absences.all()].length,
    tagged: state.entries.tags.size + state.absences.tags.size,
    tags: state.entries.tags.count + state.absences.tags.count,
    weight: state.weight,
    ...beside
  }
}
