// @effect-diagnostics *:off
import { Model, type SqlClient, type SqlError } from "@effect/sql"
import { ChangeFeed, RepoCache } from "@effecto/cache"
import { type Repo, Table } from "@effecto/core"
import type { StatementError } from "@effecto/core/RepoError"
import { type Effect, Layer, Schedule, Schema, type Scope, type Stream } from "effect"
import { describe, expect, test } from "tstyche"

class Person extends Model.Class<Person>("Person")({ id: Schema.Number, name: Schema.String }) {}
const People = Table.make(Person, { name: "people", key: "id" })
declare const feed: ChangeFeed.Service

describe("layer and make", () => {
  test("need a Repo, and say how they fail", () => {
    expect(ChangeFeed.layer()).type.toBe<
      Layer.Layer<ChangeFeed.ChangeFeed, StatementError | ChangeFeed.FeedDeaf | ChangeFeed.FeedLost, Repo.Repo>
    >()
    expect(ChangeFeed.make({ probe: "1 second", backoff: Schedule.forever })).type.toBe<
      Effect.Effect<
        ChangeFeed.Service,
        StatementError | ChangeFeed.FeedDeaf | ChangeFeed.FeedLost,
        Repo.Repo | Scope.Scope
      >
    >()
  })

  test("take the outages' policy by its name, and no schedule that needs something", () => {
    expect(ChangeFeed.layer).type.toBeCallableWith({ whileBlind: "serve" })
    expect(ChangeFeed.layer).type.not.toBeCallableWith({ whileBlind: "ignore" })
    expect(ChangeFeed.layer).type.not.toBeCallableWith({ probe: "5 lightyears" })
    expect(ChangeFeed.layer).type.not.toBeCallableWith({ backoff: {} as Schedule.Schedule<number, unknown, Repo.Repo> })
  })

  test("are optional for a cache, which takes the feed from its context", () => {
    expect(RepoCache.layer(People).pipe(Layer.provideMerge(ChangeFeed.layer()))).type.toBe<
      Layer.Layer<
        RepoCache.RepoCache<typeof People> | ChangeFeed.ChangeFeed,
        StatementError | ChangeFeed.FeedDeaf | ChangeFeed.FeedLost,
        Repo.Repo
      >
    >()
  })
})

describe("a feed", () => {
  test("says what happens", () => {
    expect(feed.events).type.toBe<Stream.Stream<ChangeFeed.Event>>()
    expect(feed.status).type.toBe<Effect.Effect<"listening" | "blind">>()
  })

  test("is subscribed to for a scope, by all three functions", () => {
    const forget = () => {}
    expect(feed.subscribe({ forget, forgetAll: forget, bypass: () => forget })).type.toBe<
      Effect.Effect<void, never, Scope.Scope>
    >()
    expect(feed.subscribe).type.not.toBeCallableWith({ forget, forgetAll: forget })
  })
})

describe("triggers", () => {
  test("are installed on tables, through a client", () => {
    expect(ChangeFeed.installTrigger(People, { maxKeys: 10 })).type.toBe<
      Effect.Effect<void, SqlError.SqlError, SqlClient.SqlClient>
    >()
    expect(ChangeFeed.installTrigger).type.not.toBeCallableWith("people")
    expect(ChangeFeed.triggerSql(People)).type.toBe<string>()
  })
})
