/** A span for each call, unless nobody traces: Effect's own tracer keeps spans for the log only, and making one costs as much as a small query's work. */
import { Context, DefaultServices, Effect, Tracer } from "effect"

const native = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/** Around an effect that is made when it runs; what is thrown then is a defect of it. */
export const spannedCall = <A, E, R>(
  self: () => Effect.Effect<A, E, R>,
  name: string,
  attributes: () => Readonly<Record<string, unknown>>
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) =>
    Context.get(fiber.currentDefaultServices, Tracer.Tracer) === native
      ? self()
      : // Sound: what withSpan takes from the requirements is the parent span, which it provides.
        (Effect.withSpan(Effect.suspend(self), name, {
          kind: "client",
          captureStackTrace: false,
          attributes: attributes()
        }) as Effect.Effect<A, E, R>)
  )

/** Around an effect that is there. */
export const spanned = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  name: string,
  attributes: Readonly<Record<string, unknown>>
): Effect.Effect<A, E, R> =>
  spannedCall(
    () => self,
    name,
    () => attributes
  )
