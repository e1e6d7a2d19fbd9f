// The product list with preact, for a bundler.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { html } from "htm/preact";
import clsx from "clsx";

function Product({ product }) {
  const price = (product.price_cents / 100).toFixed(2);
  return html`<li class=${clsx("product", product.price_cents < 1000 && "cheap")}>${product.name} <span>€ ${price}</span></li>`;
}

function Products() {
  const [products, setProducts] = useState([]);
  useEffect(() => {
    fetch("/products").then((response) => response.json()).then(({ products }) => setProducts(products));
  }, []);
  return html`<ul>${products.map((product) => html`<${Product} key=${product.id} product=${product} />`)}</ul>`;
}

render(html`<${Products} />`, document.getElementById("products"));
