// Its own file, because the page allows no script in itself.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#description",
  deepLinking: true,
  validatorUrl: null, // or else it asks a public service, with the address of this one
});
