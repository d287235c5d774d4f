import { defineConfig } from "vitest/config"
import projects from "./vitest.workspace.js"

export default defineConfig({
  test: {
    projects,
    globalSetup: ["./test/setup/postgres.ts"],
    coverage: { provider: "v8", include: ["packages/*/src/**"] }
  }
})
