import { Layer } from "effect"
import { writing } from "../writing.js"

export default writing(Layer.empty)
