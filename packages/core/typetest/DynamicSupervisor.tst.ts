// @effect-diagnostics *:off
import { Context, Effect, type Layer, type Scope } from "effect"
import { describe, expect, test } from "tstyche"
import * as DynamicSupervisor from "../src/supervision/DynamicSupervisor.js"
import * as Supervised from "../src/supervision/Supervised.js"
import * as SupervisionTree from "../src/supervision/SupervisionTree.js"

class Network extends Context.Tag("Network")<Network, { readonly connect: Effect.Effect<void> }>() {}
class Db extends Context.Tag("Db")<Db, { readonly get: Effect.Effect<number> }>() {}
class Unreachable {
  readonly _tag = "Unreachable"
}
interface Device {
  readonly read: Effect.Effect<number>
}
class Devices extends Context.Tag("Devices")<
  Devices,
  DynamicSupervisor.DynamicSupervisor<string, Device, Unreachable>
>() {}

declare const connect: (serial: string) => Effect.Effect<Device, Unreachable, Network | Scope.Scope>
declare const devices: DynamicSupervisor.DynamicSupervisor<string, Device, Unreachable>

describe("layer", () => {
  test("requires what the child requires, but for its Scope, and cannot fail", () => {
    expect(DynamicSupervisor.layer(Devices, { child: connect })).type.toBe<Layer.Layer<Devices, never, Network>>()
  })

  test("takes no child of another argument, handle or failure", () => {
    expect(DynamicSupervisor.layer).type.not.toBeCallableWith(Devices, { child: (_: number) => connect("") })
    expect(DynamicSupervisor.layer).type.not.toBeCallableWith(Devices, { child: () => Effect.succeed(1) })
    expect(DynamicSupervisor.layer).type.not.toBeCallableWith(Devices, { child: () => Effect.fail("other") })
  })

  test("takes a child that cannot fail", () => {
    expect(DynamicSupervisor.layer).type.toBeCallableWith(Devices, {
      child: () => Effect.succeed({ read: Effect.succeed(1) })
    })
  })

  test("84, 93: has no strategy, no autoShutdown and no significant children", () => {
    expect(DynamicSupervisor.layer).type.not.toBeCallableWith(Devices, { child: connect, strategy: "one_for_all" })
    expect(DynamicSupervisor.layer).type.not.toBeCallableWith(Devices, {
      child: connect,
      autoShutdown: "anySignificant"
    })
    expect(devices.start).type.not.toBeCallableWith("a", { significant: true })
  })

  test("does not run with a child that has a supervised layer inside without a tree of its own", () => {
    const child = (_: string): Effect.Effect<Device, never, Supervised.CurrentSupervisor> => Effect.die("")
    const layer = DynamicSupervisor.layer(Devices, { child })
    const tree = SupervisionTree.layer({ name: "app" })(Supervised.layer(layer))
    expect(Effect.runPromise).type.not.toBeCallableWith(Effect.provide(Devices, tree))
    expect(Effect.runPromise).type.not.toBeCallableWith(Effect.scoped(DynamicSupervisor.make({ child })))
  })

  test("is a child of a tree", () => {
    const tree = DynamicSupervisor.layer(Devices, { child: connect }).pipe(
      Supervised.layer({ id: "devices" }),
      SupervisionTree.layer({ name: "app" })
    )
    expect(tree).type.toBe<Layer.Layer<Devices | SupervisionTree.SupervisionTree, never, Network>>()
  })
})

describe("make", () => {
  test("takes argument, handle and failure from its child", () => {
    expect(DynamicSupervisor.make({ child: connect })).type.toBe<
      Effect.Effect<DynamicSupervisor.DynamicSupervisor<string, Device, Unreachable>, never, Network | Scope.Scope>
    >()
  })

  test("of a task has children without a service", () => {
    expect(DynamicSupervisor.make({ child: DynamicSupervisor.task((_: number) => Db) })).type.toBe<
      Effect.Effect<DynamicSupervisor.DynamicSupervisor<number, void, never>, never, Db | Scope.Scope>
    >()
  })
})

describe("task", () => {
  class Jobs extends Context.Tag("Jobs")<Jobs, DynamicSupervisor.DynamicSupervisor<number, void>>() {}

  test("is a child of a layer", () => {
    expect(
      DynamicSupervisor.layer(Jobs, { child: DynamicSupervisor.task((_: number) => Db), restart: "temporary" })
    ).type.toBe<Layer.Layer<Jobs, never, Db>>()
  })
})

describe("start", () => {
  test("fails with what the child fails with, and with why it is not there", () => {
    expect(devices.start("a")).type.toBe<
      Effect.Effect<
        DynamicSupervisor.Child<Device>,
        | Unreachable
        | DynamicSupervisor.AlreadyStarted<Device>
        | DynamicSupervisor.MaxChildren
        | DynamicSupervisor.Terminated
        | SupervisionTree.SupervisorShutdown
      >
    >()
  })

  test("a running child of the same id has the service that the started one would have had", () => {
    expect(
      Effect.catchTag(devices.start("a"), "AlreadyStarted", ({ child }) => Effect.succeed(child.service))
    ).type.toBe<
      Effect.Effect<
        Device | DynamicSupervisor.Child<Device>,
        Unreachable | DynamicSupervisor.MaxChildren | DynamicSupervisor.Terminated | SupervisionTree.SupervisorShutdown
      >
    >()
  })

  test("takes the argument of the child only", () => {
    expect(devices.start).type.not.toBeCallableWith(1)
  })
})
