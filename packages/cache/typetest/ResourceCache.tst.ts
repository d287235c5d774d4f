// @effect-diagnostics *:off
import { ResourceCache } from "@effecto/cache"
import { Context, Effect, type Layer, type Scope } from "effect"
import { describe, expect, test } from "tstyche"

class Db extends Context.Tag("Db")<Db, { readonly url: string }>() {}
class Files extends Context.Tag("Files")<Files, ResourceCache.ResourceCache<string, number, "refused">>() {}

declare const acquire: (key: string) => Effect.Effect<number, "refused", Db | Scope.Scope>
declare const files: ResourceCache.ResourceCache<string, number, "refused">

describe("make and layer", () => {
  test("need what the acquisition needs, but for its scope", () => {
    expect(ResourceCache.make({ name: "files", acquire })).type.toBe<
      Effect.Effect<ResourceCache.ResourceCache<string, number, "refused">, never, Db | Scope.Scope>
    >()
    expect(ResourceCache.layer(Files, { name: "files", acquire })).type.toBe<Layer.Layer<Files, never, Db>>()
  })

  test("take no option that is about loads of plain values", () => {
    expect(ResourceCache.make).type.not.toBeCallableWith({ name: "files", acquire, absent: "1 minute" })
  })
})

describe("borrow and use", () => {
  test("a loan needs a scope, and using one brings its own", () => {
    expect(files.borrow("a")).type.toBe<Effect.Effect<number, "refused", Scope.Scope>>()
    expect(files.use("a", (n) => Effect.succeed(String(n)))).type.toBe<Effect.Effect<string, "refused">>()
    expect(files.use("a", () => Effect.fail("other" as const))).type.toBe<Effect.Effect<never, "refused" | "other">>()
    expect(files.borrow).type.not.toBeCallableWith(1)
  })
})
