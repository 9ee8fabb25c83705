//! The walk over a parsed file that collects its facts, past the test code.

use syn::{Attribute, Block, Item, Signature, UseTree, spanned::Spanned, visit, visit::Visit};

use super::{
    facts::{Facts, Function, Invocation, Mark, Reference},
    tokens,
};

/// What stands in `file`, which is the module `module`; imports bear their alias as a last segment `=name`.
pub(crate) fn collect(file: &syn::File, module: &[String]) -> Facts {
    let mut collector = Collector { facts: Facts::default(), module: module.to_vec() };
    collector.visit_file(file);
    collector.facts
}

struct Collector {
    facts: Facts,
    /// Where the walk stands: the file's module and the inline modules around.
    module: Vec<String>,
}

impl Collector {
    fn refer(&mut self, segments: Vec<String>, glob: bool, line: usize) {
        let segments = tokens::absolute(segments, &self.module);
        self.facts.references.push(Reference { segments, glob, via_import: false, line });
    }

    fn keyword(&mut self, word: &str, line: usize) {
        self.facts.keywords.push((word.into(), line));
    }

    fn import(&mut self, tree: &UseTree, prefix: &[String]) {
        let with = |last: String| prefix.iter().cloned().chain([last]).collect::<Vec<_>>();
        let line = tree.span().start().line;
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &with(path.ident.to_string())),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, prefix)),
            UseTree::Glob(_) => self.refer(prefix.to_vec(), true, line),
            UseTree::Name(name) => self.import_as(prefix, &name.ident, &name.ident, line),
            UseTree::Rename(name) => self.import_as(prefix, &name.ident, &name.rename, line),
        }
    }

    fn import_as(&mut self, prefix: &[String], name: &syn::Ident, alias: &syn::Ident, line: usize) {
        let mut segments = prefix.to_vec();
        if name != "self" || prefix.is_empty() {
            segments.push(name.to_string());
        }
        let alias = if alias == "self" { segments.last().cloned() } else { Some(alias.to_string()) };
        segments.extend(alias.map(|alias| format!("={alias}")));
        self.refer(segments, false, line);
    }

    fn function(&mut self, signature: &Signature, block: &Block) {
        let braces = block.brace_token.span;
        self.facts.functions.push(Function {
            name: signature.ident.to_string(),
            body: (braces.close().start().line - braces.open().start().line).saturating_sub(1),
            arguments: signature.inputs.len() - usize::from(signature.receiver().is_some()),
            line: signature.ident.span().start().line,
        });
    }

    fn tokens(&mut self, stream: &proc_macro2::TokenStream) {
        let found = tokens::scan(stream);
        for (segments, line) in found.paths {
            self.refer(segments, false, line);
        }
        self.facts.invocations.extend(found.invocations);
        self.facts.keywords.extend(found.keywords);
        self.facts.methods.extend(found.methods);
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast Item) {
        if !tokens::is_test_only(tokens::item_attributes(item)) {
            visit::visit_item(self, item);
        } else if let Item::Mod(module) = item {
            let path = self.module.iter().cloned().chain([module.ident.to_string()]);
            self.facts.test_modules.push(path.collect());
        }
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Const(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !tokens::is_test_only(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !tokens::is_test_only(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if !tokens::is_test_only(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.import(&item.tree, &[]);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        let alias = item.rename.as_ref().map_or(&item.ident, |(_, alias)| alias);
        self.import_as(&[], &item.ident, alias, item.ident.span().start().line);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.refer(segments, false, path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    // `pub(crate)` and `pub(in …)` are no references.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(last) = call.path.segments.last() {
            self.facts.invocations.push(Invocation {
                name: last.ident.to_string(),
                words: tokens::words(&call.tokens),
                line: last.ident.span().start().line,
            });
        }
        visit::visit_macro(self, call);
    }

    fn visit_token_stream(&mut self, stream: &'ast proc_macro2::TokenStream) {
        self.tokens(stream);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let name = attribute.path().segments.last().map(|last| last.ident.to_string());
        let list = attribute.meta.require_list().ok().map(|list| &list.tokens);
        self.facts.marks.push(Mark {
            name: name.unwrap_or_default(),
            words: list.map(tokens::words).unwrap_or_default(),
            line: attribute.pound_token.span.start().line,
        });
        visit::visit_attribute(self, attribute);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.facts.methods.push((call.method.to_string(), call.method.span().start().line));
        visit::visit_expr_method_call(self, call);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast Signature) {
        if let Some(token) = signature.asyncness {
            self.keyword("async", token.span.start().line);
        }
        if let syn::Safety::Unsafe(token) = &signature.safety {
            self.keyword("unsafe", token.span.start().line);
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.keyword("async", block.async_token.span.start().line);
        visit::visit_expr_async(self, block);
    }

    fn visit_expr_await(&mut self, expression: &'ast syn::ExprAwait) {
        self.keyword("await", expression.await_token.span.start().line);
        visit::visit_expr_await(self, expression);
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        if let Some(token) = closure.asyncness {
            self.keyword("async", token.span.start().line);
        }
        visit::visit_expr_closure(self, closure);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.keyword("unsafe", block.unsafe_token.span.start().line);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some(token) = item.unsafety {
            self.keyword("unsafe", token.span.start().line);
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        if let Some(token) = item.unsafety {
            self.keyword("unsafe", token.span.start().line);
        }
        visit::visit_item_trait(self, item);
    }

    fn visit_item_foreign_mod(&mut self, item: &'ast syn::ItemForeignMod) {
        self.keyword("unsafe", item.abi.span().start().line);
        visit::visit_item_foreign_mod(self, item);
    }
}
