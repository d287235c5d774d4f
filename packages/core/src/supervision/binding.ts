/**
 * Which function a call through a handle comes to, and on which object: looked up once for each instance, and not for each call.
 */
import { Lazy, type Reach, settled } from "./answer.js"
import type { Instance, Slot } from "./instance.js"
import { type AnyFunction, isFunction, isObject } from "./kind.js"
import { CallOrigin, type Originating, type OriginTypeId, takingOf } from "./origin.js"

const nothing = (): undefined => undefined

/** Whether an argument is nothing that a call has to look into: an answer that is still to come, or the texts of a template. */
export const isOrdinary = (argument: unknown): boolean =>
  !isObject(argument) || !(argument instanceof Lazy || Array.isArray(argument))

/** The function that a place of a service is on an instance. What has just read the place says when it has become another one. */
export class Binding {
  /** The instance that it was looked up on; none if it has to be looked up again. */
  instance: Instance | undefined = undefined
  /** How it is called. */
  callee: AnyFunction = nothing
  real: AnyFunction = nothing
  owner: unknown = undefined
  /** Of a function that takes the origin of a call itself. */
  take: Originating[typeof OriginTypeId] | undefined = undefined
  origin: CallOrigin | undefined = undefined
  /** By the number of arguments, none or one. */
  private readonly origins: [CallOrigin | undefined, CallOrigin | undefined] = [undefined, undefined]

  constructor(
    private readonly slot: Slot,
    private readonly reach: Reach,
    /** What it is called on: nothing, if it is not a member. */
    private readonly reachOwner: Reach = nothing
  ) {}

  /** Looks it up. */
  bind(instance: Instance): void {
    const callee = this.reach(instance)
    if (!isFunction(callee))
      throw new TypeError(`a function of "${this.slot.path}" that was taken from its handle is not a function any more`)
    const owner = this.reachOwner(instance)
    // One that has members of any name has a `call` that is none.
    this.callee = callee.call === Function.prototype.call ? callee : (...args) => Reflect.apply(callee, owner, args)
    this.owner = owner
    this.take = takingOf(callee)
    this.origin = this.take === undefined ? undefined : this.originOf(instance, 1)
    this.instance = instance
    this.real = callee
  }

  originOf(instance: Instance, count: 0 | 1): CallOrigin {
    let origin = this.origins[count]
    if (origin?.instance !== instance) {
      origin = new CallOrigin(this.slot, instance, (now, argument) => this.call(now, count === 0 ? [] : [argument]))
      this.origins[count] = origin
    }
    return origin
  }

  call(instance: Instance, args: ReadonlyArray<unknown>): unknown {
    if (instance !== this.instance) this.bind(instance)
    return Reflect.apply(this.callee, this.owner, args.every(isOrdinary) ? args : settled(this.slot, instance, args))
  }
}
