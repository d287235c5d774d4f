/** What `npm run console` runs: a REPL with the application running behind it, as `iex -S mix` gives. */
import * as repl from "node:repl"
import * as core from "@effecto/core"
import * as effect from "effect"
import { Effect, Layer, ManagedRuntime } from "effect"
import { messageOf } from "./runMain.js"
import { App, Fallback, PeopleCache } from "./story.js"
import { Countries, Country, People, Person } from "./tables.js"
import { logging } from "./transcript.js"

const runtime = ManagedRuntime.make(Layer.merge(App, logging))

const close = async (exitCode: number): Promise<never> => {
  await runtime.dispose()
  process.exit(exitCode)
}

const inScope = Effect.gen(function* () {
  return { people: yield* PeopleCache, fallback: yield* Fallback, repo: yield* core.Repo.Repo }
})

runtime.runPromise(inScope).then(
  ({ fallback, people, repo }) => {
    process.stdout.write(
      [
        "The application is running on a database of its own. In scope: repo, people and fallback (the caches),",
        "People, Person, Countries, Country, the modules of @effecto/core and effect, and run, which runs an effect:",
        "",
        '  const carlos = await run(repo.insert(People, { firstName: "Carlos", lastName: "Bolanos", age: 33 }))',
        "  await run(people.get(carlos.id))",
        "  console.log(await run(SupervisionTree.snapshot.pipe(Effect.map(SupervisionTree.render))))",
        "",
        "Ctrl-D ends it.",
        ""
      ].join("\n")
    )
    const console = repl.start({ prompt: "effecto> " })
    Object.assign(console.context, effect, core, { people, fallback, repo, People, Person, Countries, Country })
    Object.assign(console.context, {
      run: (program: Effect.Effect<unknown, unknown, core.Repo.Repo | typeof PeopleCache.Identifier | Fallback>) =>
        runtime.runPromise(program)
    })
    // Lines that are piped in arrive all at once: each waits for what the one before it awaits, and the end for the last.
    const evaluate = console.eval
    let last = Promise.resolve()
    Object.assign(console, {
      eval: (...[code, context, file, done]: Parameters<typeof evaluate>) => {
        last = last.then(
          () =>
            new Promise((resolve) =>
              evaluate.call(console, code, context, file, (error, result) => {
                done(error, result)
                resolve()
              })
            )
        )
      }
    })
    console.on("exit", () => last.then(() => close(0)))
  },
  (error) => {
    process.stderr.write(`effecto: ${messageOf(error)}\n`)
    return close(1)
  }
)
process.on("SIGTERM", () => close(143))
