import { Context, Deferred, Effect, Layer } from "effect"
import * as Supervised from "../../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../../src/supervision/SupervisionTree.js"

/** How a child ends by itself. */
export type Ending = "normal" | "shutdown" | "crash"

export interface Member {
  readonly instance: Effect.Effect<number>
  readonly end: (how: Ending) => Effect.Effect<void>
}

/** What one child is like beside the options it is supervised with. */
export interface MemberOptions extends Supervised.ChildOptions {
  /** Runs at the beginning of the build of the nth instance, 1 for the first. */
  readonly build?: (instance: number) => Effect.Effect<void>
  /** Runs when an instance is closed, after that was written down. */
  readonly finalizer?: Effect.Effect<void>
}

/** A service called `id` that writes down its starts (`+a1`) and stops (`-a1`), ends as it is told, and can fail to start. */
export const member = (id: string, events: Array<string>, { build, finalizer, ...options }: MemberOptions = {}) => {
  const tag = Context.GenericTag<Member>(id)
  const state = { instances: 0, failNext: 0 }
  const bare = Layer.scoped(
    tag,
    Effect.gen(function* () {
      if (state.failNext > 0) {
        state.failNext--
        events.push(`${id} fails`)
        // An attempt that waits for nothing would leave nobody else a turn.
        yield* Effect.yieldNow()
        return yield* Effect.die(`${id} cannot start`)
      }
      const instance = ++state.instances
      if (build !== undefined) yield* build(instance)
      events.push(`+${id}${instance}`)
      yield* Effect.addFinalizer(() => Effect.zipRight(note(events, `-${id}${instance}`), finalizer ?? Effect.void))
      const told = yield* Deferred.make<Ending>()
      yield* Deferred.await(told).pipe(
        Effect.flatMap((how) => (how === "crash" ? Effect.die(`${id} crashed`) : Supervised.exit(how))),
        Effect.forkScoped
      )
      return { instance: Effect.succeed(instance), end: (how: Ending) => Effect.asVoid(Deferred.succeed(told, how)) }
    })
  )
  return { id, tag, bare, state, layer: Supervised.layer(bare, { id, ...options }) }
}

export const note = (events: Array<string>, event: string): Effect.Effect<void> => Effect.sync(() => events.push(event))

/** A tree `app` of members, started in the order in which they are written. */
export const family = <K extends string>(
  options: SupervisionTree.Options,
  members: { readonly [_ in K]: MemberOptions }
) => {
  const events: Array<string> = []
  const list = Object.entries<MemberOptions>(members).map(([id, it]) => member(id, events, it))
  const layer = chain(list.map((it) => it.layer)).pipe(SupervisionTree.layer({ name: "app", ...options }))
  // Object.fromEntries forgets what the keys are.
  const of = Object.fromEntries(list.map((it) => [it.id, it])) as { readonly [_ in K]: ReturnType<typeof member> }
  return { events, of, layer }
}

/** Layers in this order, each with all before it. */
export const chain = <A, E, R>(layers: ReadonlyArray<Layer.Layer<A, E, R>>): Layer.Layer<A, E, R> =>
  layers.reduceRight((later, earlier) => Layer.provideMerge(later, earlier) as Layer.Layer<A, E, R>)

/** Lets everybody run who can without time going by. */
export const settle: Effect.Effect<void> = Effect.repeatN(Effect.yieldNow(), 100)

/** Ends the current instance of a member, and waits for what follows. */
export const end = (it: ReturnType<typeof member>, how: Ending): Effect.Effect<void, never, Member> =>
  Effect.zipRight(
    Effect.flatMap(it.tag, (service) => service.end(how)),
    settle
  )

/** `["a up #1", "b down #2"]`. */
export const statuses = Effect.map(SupervisionTree.snapshot, (node) =>
  node.children.map((it) => `${it.id} ${it.status} #${it.instance}`)
)

export const used = Effect.map(SupervisionTree.snapshot, (node) => node.intensity.used)

export const status = Effect.map(SupervisionTree.snapshot, (node) => node.status)

/** What an administration call is answered with. */
export const reply = <R>(call: Effect.Effect<void, SupervisionTree.ControlError, R>): Effect.Effect<string, never, R> =>
  Effect.match(call, { onSuccess: () => "ok", onFailure: (error) => error.reason })
