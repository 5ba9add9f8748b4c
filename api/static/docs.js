// The documentation page: Swagger UI, loaded from this server alone.

// An Idempotency-Key of a payment must be new for every payment, but a document can only show one example. On this
// page the example stands for a new key at each click; type a key of your own to see a request replayed.
const exampleKey = document.body.dataset.exampleKey;

function withFreshKey(request) {
  const headers = request.headers || {};
  for (const name of Object.keys(headers)) {
    if (name.toLowerCase() === "idempotency-key" && headers[name] === exampleKey) {
      headers[name] = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
        byte.toString(16).padStart(2, "0")
      ).join("");
    }
  }
  return request;
}

const ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  validatorUrl: null, // the default asks a server on the internet
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  persistAuthorization: true,
  defaultModelsExpandDepth: 0,
  requestInterceptor: withFreshKey,
  onComplete: () => {
    const key = document.body.dataset.developmentKey;
    if (key && Object.keys(ui.authSelectors.authorized().toJS()).length === 0) {
      ui.preauthorizeApiKey("apiKey", key);
    }
  },
});
