// Shows the products. This file works as it is served; `src/app.mjs` is the same page for a bundler, with preact.
"use strict";

fetch("/products")
  .then((response) => response.json())
  .then(({ products }) => {
    const list = document.getElementById("products");
    list.replaceChildren(
      ...products.map(({ name, price_cents: cents }) => {
        const item = document.createElement("li");
        const price = document.createElement("span");
        item.textContent = name;
        price.textContent = `€ ${(cents / 100).toFixed(2)}`;
        item.append(price);
        return item;
      }),
    );
  });
